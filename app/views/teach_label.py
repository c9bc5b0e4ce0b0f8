"""Labels by hand: choose a class, tick what belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from ragcore.errors import UsageError
from ragcore.text import visible_name
from ragcore.types import SearchQuery

from ..components.label_grid import Item, label_grid
from ..components.text import count_name, plain, shorten
from ..state import errors_as_sentences, library, say_later, set_later

if TYPE_CHECKING:
    from .teach import Lesson

_NEXT, _SEARCH, _ALL, _DONE = "Next to label", "Search", "All", "Labelled"
_PAGE = 12


def show(lesson: Lesson) -> None:
    if not lesson.classes:
        _take_over(lesson)
        return
    given = {
        one.item_id: one.label
        for one in library().labels.given(lesson.name, collection=lesson.collection)
        if one.kind == lesson.kind
    }
    counts = Counter(given.values())
    active = _classes(lesson, counts)
    source = st.segmented_control(
        "Show", [_NEXT, _SEARCH, _ALL, _DONE], required=True, key="teach-source",
        default=None if "teach-source" in st.session_state else _NEXT,
        help="Next to label: what helps most, unsure and unlike what is labelled already.",
    )  # fmt: skip
    if source == _DONE and given:
        given = _of_class(lesson, counts, given)
    ids = _items(lesson, str(source), given)
    if not ids:
        _nothing(str(source))
        return
    _grid(lesson, ids, given, active)
    _more(lesson, str(source), ids, given)


def _take_over(lesson: Lesson) -> None:
    card = library().classifiers.get(lesson.name)
    st.markdown(
        f"**{plain(lesson.name)}** was trained elsewhere, on "
        f"{count_name(card.examples, 'example')}. Nothing is labelled for it in this collection."
    )
    if st.button("Label examples here", key="teach-take-over", icon=":material/edit:"):
        library().labels.set_classes(
            lesson.name, lesson.kind, card.labels, collection=lesson.collection
        )
        st.rerun()


def _classes(lesson: Lesson, counts: Counter[str]) -> str:
    """The class that a click gives, with how many each has; and a place to change them."""
    key = f"teach-active-{lesson.name}"
    if st.session_state.get(key) not in (None, *lesson.classes):
        del st.session_state[key]
    numbers = {  # the keys that give them
        name: f"{number} " if number <= 9 else "" for number, name in enumerate(lesson.classes, 1)
    }
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.pills(
            "A click gives the class",
            lesson.classes,
            default=lesson.classes[0],
            required=True,
            key=key,
            format_func=lambda name: f"{numbers[name]}{plain(name)} · {counts[name]}",
        )
        with st.popover("Change classes", icon=":material/edit:"):
            _change(lesson, counts)
    few = [name for name in lesson.classes if counts[name] < 5]
    if few:
        listed = ", ".join(plain(name) for name in few[:6]) + (" …" if len(few) > 6 else "")
        st.caption(f"Five of each make a start, twenty are good. Still few: {listed}.")
    return str(chosen)


def open_labelled(lesson: Lesson, name: str) -> None:
    """Show what is labelled with a class at the next run."""
    key = f"_teach_page_{_DONE}"
    st.session_state.pop(key, None)
    set_later(**{"teach-view": "Label", "teach-source": _DONE, _class_key(lesson): name})


def _class_key(lesson: Lesson) -> str:
    return f"teach-labelled-{lesson.name}"


def _of_class(lesson: Lesson, counts: Counter[str], given: dict[int, str]) -> dict[int, str]:
    """What of the labelled has the class that is chosen; all of it while none is."""
    key, names = _class_key(lesson), [name for name in lesson.classes if counts[name]]
    if st.session_state.get(key) not in (None, *names):
        del st.session_state[key]
    chosen = st.pills(
        "Only", names, key=key, format_func=lambda name: f"{plain(name)} · {counts[name]}",
        on_change=lambda: st.session_state.pop(f"_teach_page_{_DONE}", None),
    )  # fmt: skip
    return {item: label for item, label in given.items() if chosen in (None, label)}


def _change(lesson: Lesson, counts: Counter[str]) -> None:
    from .teach import split_classes

    with st.form(f"teach-change-{lesson.name}", border=False):
        text = st.text_area("One a line", "\n".join(lesson.classes), key="teach-change-text")
        if st.form_submit_button("Keep"):
            with errors_as_sentences():
                names = split_classes(text or "")
                library().labels.set_classes(
                    lesson.name, lesson.kind, names, collection=lesson.collection
                )
                st.rerun()
    st.caption("Labels of a class that is taken out are forgotten.")
    if st.button("Forget all of it", key="teach-forget", icon=":material/delete:"):
        library().labels.forget_classes(lesson.name, collection=lesson.collection)
        say_later("Forgotten. A classifier that was trained on it stays.")
        st.rerun()


def _items(lesson: Lesson, source: str, given: dict[int, str]) -> list[int]:
    """Ids to show. What is worth labelling stays in place until it is asked for again."""
    state, here = st.session_state, f"_teach_next_{lesson.collection}_{lesson.name}"
    if source == _NEXT:
        if here not in state:
            with st.spinner("Looking for what helps most …"):
                state[here] = library().labels.next(
                    lesson.name, lesson.kind, count=_PAGE, collection=lesson.collection
                )
        return list(state[here])
    if source == _SEARCH:
        return _found(lesson)
    page = int(state.get(f"_teach_page_{source}", 0))
    if source == _DONE:
        return list(reversed(given))[page * _PAGE : (page + 1) * _PAGE]
    return library().labels.items(
        lesson.kind, collection=lesson.collection, limit=_PAGE, offset=page * _PAGE
    )


def _found(lesson: Lesson) -> list[int]:
    words = st.text_input(
        "Words", key="teach-words", placeholder="What do examples look like, or say?",
        label_visibility="collapsed", icon=":material/search:",
    )  # fmt: skip
    if not (words or "").strip():
        return []
    kind = "images" if lesson.kind == "image" else "passages"
    query = SearchQuery(text=words, kind=kind, k=2 * _PAGE, collection=lesson.collection, cutoff=0)  # type: ignore[arg-type]
    return [hit.id for hit in library().search(query).hits]


def _nothing(source: str) -> None:
    st.caption(
        {
            _NEXT: "Everything here is labelled.",
            _SEARCH: "Type words to find examples by.",
            _DONE: "Nothing is labelled yet: choose a class above and click what belongs to it.",
        }.get(source, "There is nothing more.")
    )


def _more(lesson: Lesson, source: str, ids: Sequence[int], given: dict[int, str]) -> None:
    if source == _NEXT:
        done = sum(item in given for item in ids)
        label = "Show the next ones" if done else "Show others"
        if st.button(label, key="teach-next", icon=":material/arrow_forward:", type="primary"):
            del st.session_state[f"_teach_next_{lesson.collection}_{lesson.name}"]
            st.rerun()
    elif source in (_ALL, _DONE):
        key = f"_teach_page_{source}"
        page = int(st.session_state.get(key, 0))
        with st.container(horizontal=True, gap="small"):
            if st.button("Back", key="teach-back", disabled=not page):
                st.session_state[key] = page - 1
                st.rerun()
            if st.button("On", key="teach-on", disabled=len(ids) < _PAGE):
                st.session_state[key] = page + 1
                st.rerun()


def _grid(lesson: Lesson, ids: Sequence[int], given: dict[int, str], active: str) -> None:
    label_grid(
        f"teach-grid-{lesson.collection}-{lesson.name}",
        _shown(lesson, ids),
        lesson.classes,
        given,
        active=active,
        give=partial(give, lesson),
    )
    st.caption(
        f"A click gives **{plain(active)}**, another takes it away; with Shift also to all since "
        "the last click. Keys *1* to *9* give a class and go on, *0* takes it away, arrows move."
    )


def _shown(lesson: Lesson, ids: Sequence[int]) -> list[Item]:
    """What is drawn of them; those that were deleted meanwhile are left out."""
    if lesson.kind == "passage":
        texts = library().labels.texts(ids)
        return [Item(item, "", shorten(text, 420)) for item, text in texts.items()]
    items = []
    for item in ids:
        with suppress(UsageError):
            info = library().images.get(item)
            items.append(Item(item, visible_name(info.caption or Path(info.path).name)))
    return items


def give(lesson: Lesson, items: Sequence[int], label: str | None) -> None:
    """Label items by hand; None takes their labels away."""
    library().labels.give(lesson.name, lesson.kind, items, label, collection=lesson.collection)
