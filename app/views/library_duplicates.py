"""Images and files that are there twice, to be decided by a person."""

from __future__ import annotations

from functools import partial

import streamlit as st

from ragcore.library import Decision, DuplicateGroup, FileGroup

from ..components import viewer
from ..components.text import count_name, plain, shorten
from ..state import errors_as_sentences, library, say_later

_SHOWN = 10
_WIDEST = 8


def show(collection: str) -> None:
    st.slider(
        "How alike images must be", 0, 12, 6, key="alike",
        help="Bits of 63 that two images' hashes may differ in: 0 finds only what is as good "
        "as the same, 12 also finds what merely resembles.",
    )  # fmt: skip
    groups = library().duplicates.images(collection, max_distance=st.session_state.get("alike", 6))
    files = library().duplicates.files(collection)
    if not groups and not files:
        st.caption("Nothing is there twice, or all of it has been decided.")
    if groups:
        st.subheader(f"{count_name(len(groups), 'group')} of images", anchor=False)
    for group in groups[:_SHOWN]:
        _images(collection, group)
    if len(groups) > _SHOWN:
        st.caption(f"{len(groups) - _SHOWN:,} more follow when these are decided.")
    if files:
        st.subheader(f"{count_name(len(files), 'group')} of equal files", anchor=False)
    for file_group in files[:_SHOWN]:
        _files(collection, file_group)
    if st.button("Take all decisions back", key="forget", type="tertiary"):
        with errors_as_sentences():
            count = library().duplicates.forget(collection)
            say_later(f"{count_name(count, 'decision')} taken back.")
            st.rerun()


def _images(collection: str, group: DuplicateGroup) -> None:
    ids = group.image_ids
    thumbnails = library().images.thumbnails(ids[:_WIDEST])
    with st.container(border=True, key=f"pic-group-{ids[0]}"):
        what = "the same pixels" if group.identical else f"alike, {group.distance} bits apart"
        st.caption(f"{count_name(len(ids), 'image')}, {what}")
        grid = st.grid(min_column_width=150, gap="small")
        infos = [library().images.get(image_id) for image_id in ids[:_WIDEST]]
        for info in infos:
            with grid.cell(), st.container(key=f"pic-twin-{info.id}"):
                if info.id in thumbnails:
                    st.image(thumbnails[info.id], width="stretch", alt=info.document)
                st.button(
                    plain(shorten(info.path.rsplit("/", 1)[-1], 40)),
                    key=f"twin-{info.id}",
                    type="tertiary",
                    help=plain(info.path),
                    on_click=viewer.open_image,
                    args=(info.id,),
                )
                st.caption(f"{info.width} × {info.height}")
                if info.id == group.keep:
                    st.badge("Keep this one", icon=":material/check:", color="green")
        own = [info for info in infos if info.page is None]
        if group.keep is not None:
            st.caption(f"Keep the marked one: {group.reason}.")
        with st.container(horizontal=True, gap="small"):
            _decide("Different", "different", ids, ":material/call_split:")
            _decide("The same, keep all", "duplicate", ids, ":material/check:")
            if len(own) > 1:
                extra = [info.document_id for info in own if info.id != group.keep]
                st.button(
                    f"Keep the marked one, take {len(extra)} out",
                    key=f"keep-{ids[0]}",
                    icon=":material/delete:",
                    on_click=partial(_take_out, collection, extra),
                )


def _decide(label: str, decision: Decision, ids: tuple[int, ...], icon: str) -> None:
    st.button(
        label,
        key=f"{decision}-{ids[0]}",
        icon=icon,
        on_click=_keep_decision,
        args=(ids, decision),
    )


# Callbacks ask for the library themselves: they come in another run, perhaps as somebody else.


def _keep_decision(ids: tuple[int, ...], decision: Decision) -> None:
    library().duplicates.decide(ids, decision)


def _keep_files(collection: str, sha256: str) -> None:
    library().duplicates.keep_files(collection, sha256)


def _take_out(collection: str, document_ids: list[int]) -> None:
    count = library().trash.put(document_ids, collection=collection)
    say_later(f"{count_name(count, 'document')} moved to the trash.")


def _files(collection: str, group: FileGroup) -> None:
    with st.container(border=True, key=f"files-{group.sha256[:12]}"):
        for document_id, path in zip(group.document_ids, group.paths, strict=True):
            with st.container(
                horizontal=True, vertical_alignment="center",
                horizontal_alignment="distribute",
            ):  # fmt: skip
                st.markdown(plain(path))
                st.button(
                    "Take out",
                    key=f"out-{document_id}",
                    icon=":material/delete:",
                    on_click=partial(_take_out, collection, [document_id]),
                )
        st.button(
            "Keep all of them",
            key=f"keep-files-{group.sha256[:12]}",
            icon=":material/check:",
            on_click=_keep_files,
            args=(collection, group.sha256),
        )
