"""`ragcore demo`: the sample collection, one answer, images found in two ways, then the pages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ragcore.cli.output import echo, progress_line, shorten
from ragcore.extras import install_hint, missing_modules
from ragcore.library import SAMPLE, Collection, Library, copy_documents, package_folder
from ragcore.types import SearchQuery

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "Are we allowed to play foosball during working hours?"
WORDS = "a flower"

# Photographs of packages that ragcore requires, beside those of its own (data/README.md has the
# licenses): (file name here, package, file inside it).
FROM_PACKAGES: Sequence[tuple[str, str, str]] = (
    ("photo-08.jpg", "sklearn", "datasets/images/flower.jpg"),
    ("photo-09.jpg", "sklearn", "datasets/images/china.jpg"),
)


@click.command("demo")
@click.option("--page/--no-page", default=True, help="Open the browser pages at the end.")
@click.option("--remove", is_flag=True, help="Remove the demo's documents and files again.")
@click.pass_context
def command(ctx: click.Context, page: bool, remove: bool) -> None:
    """Show what ragcore does, on sample documents and photographs that come with it.

    Ingests them into the collection "sample", asks a question, finds an image by words and
    another by an altered copy of it, then opens the browser pages (Ctrl-C stops them).
    """
    with Library() as library:
        folder = library.admin.settings.home / "demo"
        if remove:
            _remove(library, folder)
            return
        _fetch_models(library)
        show(library.collection(SAMPLE), folder)
    echo(f"The files are in {folder}; `ragcore demo --remove` removes them again")
    if not page:
        return
    if missing_modules("ui"):
        echo(f"5. Open the browser pages: they need {install_hint('ui')}")
        return
    from ragcore.cli.ui import command as ui

    echo("5. Open the browser pages; Ctrl-C stops them")
    ctx.invoke(ui)


def _fetch_models(library: Library) -> None:
    where = library.admin.settings.weights_cache
    echo(f"Models of profile {library.models.profile.name}, in {where}")
    library.models.pull(progress=progress_line())


def copy_files(folder: Path) -> list[Path]:
    """Copy the sample into `folder`: documents/, photographs/. Returns the photographs' paths.

    Files that exist already are left alone, so that a second demo ingests nothing again.
    """
    copy_documents(folder)
    photographs = package_folder("ragcore.cli") / "photographs"
    found = {folder / "photographs" / one.name: one for one in photographs.iterdir()}
    for name, package, inside in FROM_PACKAGES:
        found[folder / "photographs" / name] = package_folder(package) / inside
    for target, source in found.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_bytes(source.read_bytes())
    return sorted(found)


def altered(image: Image) -> Image:
    """The image as somebody else might have it: mirrored, cropped, smaller, pale."""
    from PIL import Image, ImageEnhance, ImageOps

    width, height = image.size
    box = (width // 12, height // 14, width - width // 10, height - height // 16)
    changed = ImageOps.mirror(image.convert("RGB")).crop(box)
    changed = changed.resize(
        (changed.width * 2 // 3, changed.height * 2 // 3), Image.Resampling.LANCZOS
    )
    return ImageEnhance.Color(ImageEnhance.Brightness(changed).enhance(1.15)).enhance(0.5)


def show(collection: Collection, folder: Path) -> None:
    """The printed part of the demonstration, on copies of the sample in `folder`."""
    from PIL import Image

    photographs = copy_files(folder)
    documents = folder / "documents"
    count = sum(1 for _ in documents.iterdir())
    echo(
        f"1. Ingest {count} documents and drawings and {len(photographs)} photographs "
        f"(collection {collection.name!r})"
    )
    report = collection.ingest([documents, folder / "photographs"], progress=progress_line())
    for problem in report.failed:
        echo(f"   {Path(problem.path).name}: {problem.error}")
    for file in report.incomplete:
        echo(f"   {Path(file.path).name}: {'; '.join(map(str, file.skipped))}")
    echo(
        f"   {report.added} files added, {report.unchanged} unchanged: {report.passages} passages, "
        f"{report.images} images in {report.seconds:.1f} s"
    )
    echo(f"2. Ask: {QUESTION}")
    answer = collection.ask(QUESTION)
    echo(f"   {answer.text}")
    for citation in answer.citations:
        place = f"{citation.document}, page {citation.page}"
        echo(f'   [{citation.n}] {place}: "{shorten(citation.quote, 120)}"')
    echo(f"3. Find an image by words: {WORDS}")
    _show_images(collection, SearchQuery(text=WORDS, kind="images", k=3))
    original = photographs[1]
    copy = folder / "altered-copy.jpg"
    with Image.open(original) as image:
        altered(image).save(copy, quality=70)
    echo(f"4. Find {original.name} by an altered copy of it ({copy})")
    _show_images(collection, SearchQuery(image=copy, kind="images", k=1, same_image=True))


def _show_images(collection: Collection, query: SearchQuery) -> None:
    found = collection.search(query)
    for hit in found.hits:
        echo(f"   {hit.score:.2f}  {hit.path}")
    if not found.hits:
        echo("   nothing fits")


def _remove(library: Library, folder: Path) -> None:
    """Remove the demo's files and documents; the collection too, unless it has others."""
    existed = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    if SAMPLE not in {row.name for row in library.collections()}:
        done = f"removed {folder}" if existed else "there is no demo to remove"
        echo(done)
        return
    count = library.documents.forget_missing([folder], collection=SAMPLE)
    left = library.documents.statistics(SAMPLE).documents
    if not left:
        library.admin.delete_collection(SAMPLE)
    note = f"; {left} other documents of collection {SAMPLE!r} stay" if left else ""
    echo(f"removed {folder} and {count} documents{note}")
    echo(f"The models stay in {library.admin.settings.weights_cache}")
