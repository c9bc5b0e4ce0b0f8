"""What stands in the address of a page: what is open, besides what the page's widgets put there.

`?open=document-12&at=4` is page 4 of document 12, `?open=image-7` an image. The browser keeps one
entry of its history for each (app/assets/shell.js).
"""

from __future__ import annotations

from typing import Literal

import streamlit as st

OPEN, AT = "open", "at"
Opened = tuple[Literal["document", "image"], int]


def opened() -> Opened | None:
    """What the address says is open."""
    kind, _, number = st.query_params.get(OPEN, "").partition("-")
    if not number.isdecimal() or len(number) > 18:
        return None
    if kind == "document":
        return "document", int(number)
    return ("image", int(number)) if kind == "image" else None


def page() -> int:
    """The page of the open document that the address names; the first if it names none."""
    given = st.query_params.get(AT, "")
    return int(given) if given.isdecimal() and len(given) < 9 and int(given) else 1


def open_document(number: int, page: int) -> None:
    """Put a document and its page into the address."""
    st.query_params.update({OPEN: f"document-{number}", AT: str(page)})


def open_image(number: int) -> None:
    st.query_params.pop(AT, None)
    st.query_params[OPEN] = f"image-{number}"


def close() -> None:
    """Nothing is open any more."""
    for name in (AT, OPEN):  # the page alone is no other place
        st.query_params.pop(name, None)
