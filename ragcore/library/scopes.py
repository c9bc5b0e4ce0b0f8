"""What each public method of a library and its parts needs.

One table, and the one place that looks it up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from contextvars import Context, copy_context
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

from ragcore.catalog import Permit, permits
from ragcore.errors import NotPermitted
from ragcore.types import SearchQuery

T = TypeVar("T")
Need = Literal["look", "read", "write", "admin", "server"]

# look: the scope read; drawn from on every page, so not noted in the audit. read, write: that
# scope. admin: an administrator of the collection. server: an administrator of all collections.
# "Class.method(argument)" is needed besides where the argument is given.
# What is not here needs "server".
NEEDS: Mapping[str, Need] = {
    "Library.ask": "read",
    "Library.ask_stream": "read",
    "Library.check_schema": "look",
    "Library.collection": "look",
    "Library.collections": "look",
    "Library.create_collection": "write",
    "Library.find_collection": "look",
    "Library.imagine": "read",
    "Library.imagine_stream": "read",
    "Library.ingest": "write",
    "Library.ingest(address)": "server",  # a host that this server connects to
    "Library.label": "read",
    "Library.search": "read",
    "Library.watch": "write",
    "Adapters.list": "look",
    "Adapters.use": "admin",
    "Adapters.used_by": "look",
    "Admin.delete_collection": "admin",
    "Admin.embed_missing": "admin",
    "Admin.reembed": "admin",
    "Admin.rename_collection": "admin",
    "Admin.set_passages": "admin",
    "Admin.set_style": "admin",
    "Albums.add": "write",
    "Albums.create": "write",
    "Albums.delete": "write",
    "Albums.list": "look",
    "Albums.move": "write",
    "Albums.remove": "write",
    "Albums.rename": "write",
    "Chats.count": "look",
    "Chats.create": "read",
    "Chats.delete": "read",
    "Chats.export_markdown": "look",
    "Chats.get": "look",
    "Chats.list": "look",
    "Chats.rate": "read",
    "Chats.rename": "read",
    "Chats.running": "look",
    "Chats.set_collection": "read",
    "Chats.start": "read",
    "Chats.stop": "read",
    "Chats.turns": "look",
    "Classifiers.classify": "write",
    "Classifiers.follow": "write",
    "Classifiers.followed": "look",
    "Classifiers.get": "look",
    "Classifiers.list": "look",
    "Classifiers.remove": "write",
    "Classifiers.results": "look",
    "Diffusion.canny_stages": "look",
    "Diffusion.check": "look",
    "Diffusion.class_names": "look",
    "Diffusion.condition": "look",
    "Diffusion.condition(model)": "server",  # names a folder, or fetches weights
    "Diffusion.edit_latents": "read",
    "Diffusion.gallery": "look",
    "Diffusion.interpolate_latents": "read",
    "Diffusion.loras": "look",
    "Diffusion.model": "look",
    "Diffusion.negative_example": "read",
    "Diffusion.probes": "look",
    "Diffusion.recipe": "look",
    "Documents.check_paths": "write",
    "Documents.facets": "look",
    "Documents.file_types": "look",
    "Documents.find": "write",
    "Documents.forget_missing": "write",
    "Documents.get": "look",
    "Documents.headings": "look",
    "Documents.indexes": "look",
    "Documents.list": "look",
    "Documents.map": "look",
    "Documents.original": "read",
    "Documents.page": "look",
    "Documents.page_boxes": "look",
    "Documents.page_image": "look",
    "Documents.remove": "write",
    "Documents.statistics": "look",
    "Documents.upload": "write",
    "Duplicates.decide": "write",
    "Duplicates.files": "look",
    "Duplicates.forget": "write",
    "Duplicates.images": "look",
    "Duplicates.keep_files": "write",
    "Images.ask": "read",
    "Images.ask(model)": "server",
    "Images.ask_stream": "read",
    "Images.ask_stream(model)": "server",
    "Images.caption": "read",
    "Images.caption(model)": "server",
    "Images.caption_collection": "write",
    "Images.caption_collection(model)": "server",
    "Images.get": "look",
    "Images.groups": "look",
    "Images.label": "read",
    "Images.list": "look",
    "Images.mark": "write",
    "Images.marks": "look",
    "Images.metadata": "look",
    "Images.preview": "read",
    "Images.read": "look",
    "Images.refresh_metadata": "write",
    "Images.thumbnail": "look",
    "Images.thumbnails": "look",
    "Images.view": "look",
    "Jobs.cancel": "write",
    "Jobs.get": "look",
    "Jobs.recent": "look",
    "Jobs.resume": "write",
    "Jobs.start_again": "write",
    "Jobs.start_captioning": "write",
    "Jobs.start_classify": "write",
    "Jobs.start_ingest": "write",
    "Jobs.start_reading_again": "write",
    "Jobs.start_reembed": "admin",
    "Jobs.start_sample": "write",
    "Jobs.start_training": "write",
    "Jobs.start_upload": "write",
    "Jobs.wait": "look",
    "Labels.classes": "look",
    "Labels.counts": "look",
    "Labels.forget_classes": "write",
    "Labels.give": "write",
    "Labels.given": "look",
    "Labels.given_counts": "look",
    "Labels.items": "look",
    "Labels.next": "look",
    "Labels.of": "look",
    "Labels.set_classes": "write",
    "Labels.texts": "look",
    "LibraryModels.damaged_weights": "look",
    "LibraryModels.count_tokens": "look",
    "LibraryModels.device": "look",
    "LibraryModels.embed": "read",
    "LibraryModels.loaded": "look",
    "LibraryModels.offers": "look",
    "LibraryModels.preparation": "look",
    "LibraryModels.prepare": "look",
    "LibraryModels.process_memory": "look",
    "LibraryModels.profile": "look",
    "LibraryModels.profiles": "look",
    "LibraryModels.rerank": "read",
    "LibraryModels.text_space": "look",
    "LibraryModels.transcribe": "read",
    "LibraryModels.unload": "admin",
    "LibraryModels.weights": "look",
    "Trash.empty": "write",
    "Trash.list": "write",
    "Trash.put": "write",
    "Trash.put_images": "write",
    "Trash.restore": "write",
    "UploadedFiles.add": "write",
    "UploadedFiles.attach": "write",
    "UploadedFiles.get": "look",
    "UploadedFiles.list": "look",
    "UploadedFiles.path": "write",
    "UploadedFiles.remove": "write",
}
_SCOPE_OF: Mapping[Need, str] = {"look": "read", "server": "admin"}
# Arguments that say whose things are meant.
_OWNER = "owner"
# Arguments that are encoded bytes, or for an administrator of the server a path on it.
_FILES = frozenset({"image", "images", "first", "second", "sound"})
_END: Any = object()


def scoped(part: type[T]) -> type[T]:
    """Class decorator: every public method and property of `part` asks the table first.

    Instances have `_permit`: what they were opened for, or None, which leaves what the thread is
    permitted. Raises NotPermitted where that is not enough.
    """
    for name, value in list(vars(part).items()):
        if name.startswith("_"):
            continue
        if inspect.isfunction(value):
            setattr(part, name, _guarded(value, f"{part.__name__}.{name}"))
        elif isinstance(value, property) and value.fget is not None:
            getter = _guarded(value.fget, f"{part.__name__}.{name}")
            setattr(part, name, property(getter, doc=value.__doc__))
    return part


def _guarded(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    signature = inspect.signature(method)
    need = NEEDS.get(name, "server")
    extra = {
        argument: NEEDS[key]
        for argument in signature.parameters
        if (key := f"{name}({argument})") in NEEDS
    }
    part, _, verb = name.rpartition(".")
    action = f"{part.removeprefix('Library').lower()}.{verb}".removeprefix(".")

    @wraps(method)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        bound: Permit | None = self._permit
        permit = bound or permits.current()
        if permit.unlimited or (permits.is_inside() and permit is permits.current()):
            return method(self, *args, **named)
        given = signature.bind(self, *args, **named).arguments
        try:
            _check(permit, need)
            for argument, more in extra.items():
                if given.get(argument) not in (None, "", signature.parameters[argument].default):
                    _check(permit, more)
            _check_arguments(permit, given)
        except NotPermitted:
            _note(permit, action, given, need, permitted=False)
            raise
        _note(permit, action, given, need, permitted=True)
        context = copy_context()
        context.run(permits.enter, permit)
        result = context.run(method, self, *args, **named)
        return _in_context(result, context) if isinstance(result, Generator) else result

    return call


def _check(permit: Permit, need: Need) -> None:
    scope = _SCOPE_OF.get(need, need)
    if not permit.may(scope):
        raise NotPermitted(f"this needs the scope {scope}; yours is {permit.scope}")
    if need == "server" and permit.collection_ids is not None:
        raise NotPermitted(
            f"this needs the scope {scope} for all collections; yours is limited to some"
        )


def _check_arguments(permit: Permit, given: Mapping[str, Any]) -> None:
    """Who does not administer the server has their own things only, and names no file of it."""
    if permit.may("admin") and permit.collection_ids is None:
        return
    owner = given.get(_OWNER)
    if owner and owner != permit.owner:
        raise NotPermitted("this is somebody else's")
    files = [given[name] for name in _FILES & given.keys()]
    for value in given.values():
        if isinstance(value, SearchQuery):
            files.append(value.image)
        elif hasattr(value, "start_image"):  # an ImagineRequest, whose module loads NumPy
            files += [value.start_image, *(control.image for control in value.controls)]
    for value in files:
        one_only = value is None or isinstance(value, str | bytes | Path)
        several = [value] if one_only else [*value]
        if any(isinstance(one, str | Path) for one in several):
            raise NotPermitted("give the image's bytes: a path on the server needs the scope admin")


def _note(
    permit: Permit, action: str, given: Mapping[str, Any], need: Need, *, permitted: bool
) -> None:
    if permit.audit is not None and not (permitted and need == "look"):
        permit.audit(action, _collection(action, given), permitted)


def _collection(action: str, given: Mapping[str, Any]) -> str:
    """The collection or collections that a call is about, as far as its arguments show."""
    found = given.get("collection")
    if found is None and action.endswith("_collection"):
        found = given.get("name")
    if found is None:
        query = given.get("query")
        found = getattr(query, "collections", ()) or getattr(query, "collection", "")
    return ", ".join(found) if isinstance(found, list | tuple) else str(found)


def _in_context(items: Iterator[T], context: Context) -> Generator[T, None, None]:
    """The same items, each made with what the call was permitted."""
    try:
        while (item := context.run(next, items, _END)) is not _END:
            yield item
    finally:
        context.run(items.close)  # type: ignore[attr-defined]  # a generator
