"""What can be done with something that was found: the same on cards and in windows."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ragcore.types import Hit

from ..state import library, say_later, set_later

CONTEXT = "_context"
ABOUT = "_about_image"  # the image that the next question is about
FOLLOW = "_follow"  # the image that was sent to the page Studio
MAX_CONTEXT = 8


def like_passage(hit: Hit) -> None:
    """Search for what resembles this passage."""
    set_later(q=" ".join(hit.text.split())[:400], minus="")
    st.session_state["_query"] = {}
    st.session_state["_go"] = "search"


def like_image(image_id: int, *, same: bool = False) -> None:
    """Search for images that resemble this one, or are nearly the same."""
    set_later(q="", minus="")
    st.session_state["_query"] = {"like": str(image_id), **({"same": "1"} if same else {})}
    st.session_state["_go"] = "search"


def use_as_control(image_id: int) -> None:
    """Have the next image of the page Studio follow this one."""
    st.session_state[FOLLOW] = image_id
    st.session_state["_go"] = "studio"


def makes_images() -> bool:
    """Whether the profile has an image maker."""
    return library().models.profile.diffusion is not None


def ask_about(hit: Hit) -> None:
    """Keep a passage as context of the next questions."""
    context: list[Hit] = st.session_state.setdefault(CONTEXT, [])
    if all(hit.id != other.id for other in context):
        context.append(hit)
        del context[:-MAX_CONTEXT]
    say_later(f"Kept for your question ({len(context)}). See the page Ask.")


def ask_about_image(image_id: int) -> None:
    """Have the next question be about this image, in a new conversation."""
    st.session_state[ABOUT] = {"id": image_id}
    st.session_state["_go"] = "ask"


def for_hit(hit: Hit, *, place: str) -> None:
    """Buttons for a passage."""
    with st.container(horizontal=True, gap="small"):
        if st.button("More like this", key=f"like-{place}-{hit.id}", icon=":material/search:"):
            like_passage(hit)
            st.rerun()
        if st.button("Ask about it", key=f"ask-{place}-{hit.id}", icon=":material/chat:"):
            ask_about(hit)
            st.session_state["_go"] = "ask"
            st.rerun()


def leave_with(wanted: Any) -> None:
    """What the viewer or the grid asks for: another page, with an image."""
    image_id = wanted.get("id") if isinstance(wanted, dict) else None
    if not isinstance(image_id, int):
        return
    if wanted.get("what") == "studio":
        use_as_control(image_id)
    elif wanted.get("what") == "ask":
        ask_about_image(image_id)
    else:
        like_image(image_id, same=wanted.get("what") == "same")
