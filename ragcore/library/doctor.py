"""What `ragcore doctor` finds out: versions, device, weights, and whether everything agrees.

The catalog is the source of truth. What follows from it (lexical index, vector indexes,
missing embeddings) can be made again; what hangs in the air (vectors of things that are gone,
images that nothing refers to) can be removed: `repair` does both.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from ragcore import __version__
from ragcore.errors import DatabaseDamaged, RagcoreError
from ragcore.extras import missing_modules
from ragcore.files import can_write, exposed, make_private, remove_strays, strays
from ragcore.library.admin import Admin
from ragcore.library.core import Core
from ragcore.library.documents import Documents
from ragcore.library.ingesting import embed_missing
from ragcore.weights import ModelRef, WeightStore

State = Literal["ok", "note", "warning", "problem", "repaired"]

PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "open_clip_torch",
    "faiss-cpu",
    "SQLAlchemy",
    "pypdfium2",
    "streamlit",
    "xllamacpp",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. Only a `problem` means that something is not as it should be."""

    subject: str
    state: State
    detail: str


@dataclass(slots=True)
class Diagnosis:
    """The whole report."""

    versions: dict[str, str] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        return all(finding.state != "problem" for finding in self.findings)


def examine(core: Core, *, repair: bool = False, verify: bool = False) -> Diagnosis:
    """Check everything; with `repair`, also repair what can be repaired.

    `verify` also hashes every file of the weights. Never raises for what it finds.
    """
    diagnosis = Diagnosis(versions=versions())
    add = diagnosis.findings.append
    try:
        diagnosis.device = core.models.device()
    except RagcoreError as error:
        add(Finding("device", "problem", str(error)))
    for check in (_plug_ins, _weights, _files, _catalog):
        for finding in _guarded(check, core, repair=repair, verify=verify):
            add(finding)
    return diagnosis


def versions() -> dict[str, str]:
    """Of Python, ragcore and the packages that matter most."""
    found = {"python": platform.python_version(), "ragcore": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _guarded(check: Callable[..., Iterator[Finding]], core: Core, **how: bool) -> Iterator[Finding]:
    try:
        yield from check(core, **how)
    except RagcoreError as error:
        yield Finding(check.__name__.strip("_"), "problem", str(error))


def _weights(core: Core, *, repair: bool, verify: bool) -> Iterator[Finding]:
    from ragcore.weights import find_entry

    store = WeightStore(core.settings)
    for part, wanted in core.models.profile.parts():
        reference = _present(store, wanted)
        if reference is not wanted:
            reason = f"{wanted.name} is not here: {reference.name} stands in"
            yield Finding(f"weights {part}", "note", f"{reason}; `ragcore models pull`")
        if not reference.needs_weights:
            yield _server_of(core, part, reference.name)
            continue
        names = dict.fromkeys([*find_entry(reference.name).requires, reference.name])
        for name in [*names, *reference.also]:
            yield _weights_of(store, f"weights {part}", name, repair=repair, verify=verify)


def _present(store: WeightStore, reference: ModelRef) -> ModelRef:
    """The model, or its `otherwise` where the model cannot be run or is not here."""
    if reference.otherwise is None:
        return reference
    runs = not (reference.extra and missing_modules(reference.extra))
    here = not reference.needs_weights or store.find(reference.name) is not None
    return reference if runs and here else reference.otherwise


def _server_of(core: Core, part: str, name: str) -> Finding:
    """Whether a model without weights of ours can be had, and its server answers.

    Waits some seconds at most.
    """
    models = core.models
    make: dict[str, Callable[[], Any]] = {
        "text_encoder": models.text_encoder,
        "image_text_encoder": models.image_text_encoder,
        "reranker": models.reranker,
        "span_reader": models.span_reader,
        "llm": models.llm,
        "vision_llm": models.vision_llm,
        "transcriber": models.transcriber,
        "diffusion": models.diffuser,
    }
    try:
        warm_up = getattr(make[part](), "warm_up", None)  # not every model has one
        if warm_up is not None:
            warm_up()
    except RagcoreError as error:
        return Finding(f"server {part}", "problem", str(error))
    return Finding(f"server {part}", "ok", f"{name} answers")


def _plug_ins(core: Core, *, repair: bool, verify: bool) -> Iterator[Finding]:
    """What cannot be used of what is registered, and how much of other packages can."""
    listed = Admin(core).plugins()
    for one in listed:
        if not one.active:
            what = f"{one.name} ({one.group}) of {one.package} {one.version}"
            yield Finding("plug-ins", "problem", f"{what} cannot be used: {one.error}")
    if usable := [one.name for one in listed if one.active and not one.built_in]:
        yield Finding("plug-ins", "ok", f"{', '.join(usable)}")


def _weights_of(store: Any, subject: str, name: str, *, repair: bool, verify: bool) -> Finding:
    [status] = store.status([name])
    wrong = store.verify(name) if verify and status.state == "ready" else ()
    if status.state == "damaged" or wrong:
        if repair:
            store.repair(name)
            return Finding(subject, "repaired", f"{name} was fetched again")
        what = f"{wrong[0]} differs from its checksum" if wrong else "not whole"
        return Finding(subject, "problem", f"{name}: {what}; --repair fetches it again")
    if status.state == "missing":
        return Finding(subject, "warning", f"{name} is not here yet: `ragcore models pull`")
    return Finding(subject, "ok", f"{name}, {status.size / 1e6:.0f} MB")


def _files(core: Core, *, repair: bool, verify: bool) -> Iterator[Finding]:
    """Whether other users of this computer can read what the home holds."""
    home = core.settings.home

    def check() -> list[str]:
        open_ = exposed(home)
        return (
            [f"{len(open_)} files and folders of {home} are open to other users"] if open_ else []
        )

    yield from _repairable(
        "rights of files", check, lambda: make_private(home), repair, good="all yours alone"
    )

    def half_written() -> list[str]:
        left = strays(home)
        return [f"{len(left)} half-written files of processes that are gone"] if left else []

    yield from _repairable(
        "half-written files", half_written, lambda: remove_strays(strays(home)), repair, quiet=True
    )


def _catalog(core: Core, *, repair: bool, verify: bool) -> Iterator[Finding]:
    from ragcore.catalog import current_revision, integrity, postgres, sqlite_file

    try:
        catalog = core.catalog
        wrong = integrity.check_database(catalog)
    except DatabaseDamaged as error:
        wrong = [str(error)]
    for problem in wrong:
        yield Finding("catalog", "problem", f"{problem}; restore it from a backup")
    if wrong:  # nothing below can be trusted
        yield from _readable(core)
        return
    file = sqlite_file(catalog.engine)
    where = postgres.shown(catalog.engine.url) if file is None else f"sqlite:///{file}"
    yield Finding("catalog", "ok", f"{where}, schema {current_revision(catalog.engine)}")
    if file is not None and not can_write(file.parent):
        yield Finding("home", "note", "read-only: the lexical index is not checked")
    else:
        yield from _repairable(
            "lexical index",
            lambda: integrity.check_lexical(catalog),
            lambda: integrity.repair_lexical(catalog),
            repair,
        )
    yield from _repairable(
        "counts and orphans",
        lambda: integrity.check_rows(catalog),
        lambda: integrity.repair_rows(catalog),
        repair,
    )
    yield from _repairable(
        "media",
        lambda: integrity.check_media(catalog, core.settings.media),
        lambda: integrity.repair_media(catalog, core.settings.media),
        repair,
    )
    for row in core.catalog.collections():
        yield from _collection(core, row.id, row.name, repair)
    interrupted = [job for job in core.jobs.recent(50) if job.state == "interrupted"]
    for job in interrupted:
        detail = f"{job.kind} job {job.id} of {job.collection!r} was interrupted; run it again"
        yield Finding("jobs", "note", detail)


def _readable(core: Core) -> Iterator[Finding]:
    """What `ragcore recover` could save of a damaged catalog."""
    from ragcore.maintenance import readable

    if core.settings.database_url:
        return
    found = readable(core.settings.home / "catalogue.db")
    for name in ("collections", "documents", "pages", "passages", "images", "embeddings"):
        lost = found.lost.get(name, 0)
        state: State = "problem" if lost else "note"
        detail = f"{found.rows.get(name, 0):,} can be read" + (f", {lost:,} cannot" if lost else "")
        yield Finding(f"readable {name}", state, detail)
    yield Finding(
        "readable", "note", "`ragcore recover FOLDER` writes what can be read into a new home"
    )


def _collection(core: Core, collection_id: int, name: str, repair: bool) -> Iterator[Finding]:
    from ragcore.catalog import integrity

    counts = Documents(core).statistics(name)
    stored = f"{counts.documents} documents, {counts.passages} passages, {counts.images} images"
    subject = f"collection {name}"
    before = "ok"
    for modality in ("text", "image"):
        space = core.catalog.active_space(collection_id, modality)
        of = f"{subject}, {'passages' if modality == 'text' else 'images'}"
        if space is None:
            missing = integrity.count_items(core.catalog, modality, collection_id)
            if missing:
                before = "problem"
                yield Finding(of, "problem", f"{missing} without any vectors: {_again(name)}")
            continue

        def check(modality: str = modality, space: Any = space) -> list[str]:
            missing = integrity.count_missing(core.catalog, modality, collection_id, space.id)
            lacking = [f"{missing} without a vector in {space.name}"] if missing else []
            return lacking + core.stores.check(collection_id, space)

        def fix(space: Any = space) -> None:
            embed_missing(core, name)
            core.stores.rebuild(collection_id, space)

        yield from _repairable(of, check, fix, repair, quiet=True)
    failed = counts.states.get("failed", 0) + counts.states.get("stale", 0)
    if failed:
        yield Finding(subject, "note", f"{failed} files could not be read: `ragcore documents`")
    if before == "ok":
        yield Finding(subject, "ok", stored)


def _again(name: str) -> str:
    return f"`ragcore models use --collection {name}`"


def _repairable(
    subject: str,
    check: Callable[[], list[str]],
    fix: Callable[[], object],
    repair: bool,
    *,
    quiet: bool = False,
    good: str = "agrees with the catalog",
) -> Iterator[Finding]:
    wrong = check()
    if wrong and repair:
        fix()
        left = check()
        if not left:
            yield Finding(subject, "repaired", "; ".join(wrong))
            return
        wrong = left
    for problem in wrong:
        hint = "" if repair else " (--repair repairs it)"
        yield Finding(subject, "problem", f"{problem}{hint}")
    if not wrong and not quiet:
        yield Finding(subject, "ok", good)
