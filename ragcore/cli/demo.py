"""What `make demo` shows: `python -m ragcore.cli.demo [data/sample]`.

Gathers photographs from installed packages, ingests them with the sample documents, asks one
question, finds one picture by words and another by an altered copy of itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ragcore.cli.output import progress_line, quiet_libraries, shorten
from ragcore.errors import RagcoreError, UsageError
from ragcore.library import Library
from ragcore.types import SearchQuery

if TYPE_CHECKING:
    from PIL.Image import Image

COLLECTION = "sample"
QUESTION = "Are we allowed to play foosball during working hours?"
WORDS = "a flower"

# (package, file inside it); the pictures' licences are in data/README.md.
PHOTOGRAPHS: Sequence[tuple[str, str]] = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/moon.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)


def gather_photographs(folder: Path) -> list[Path]:
    """Copy the photographs into `folder` as photo-NN.jpg; return those that could be had.

    One that is there already is left as it is; one whose package is not installed is left out.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    gathered = []
    for number, (package, name) in enumerate(PHOTOGRAPHS, 1):
        target = folder / f"photo-{number:02d}.jpg"
        spec = find_spec(package)
        origin = Path(spec.origin).parent / name if spec and spec.origin else None
        if not target.exists():
            if origin is None or not origin.is_file():
                continue
            with Image.open(origin) as picture:
                picture.convert("RGB").save(target, quality=92)
        gathered.append(target)
    return gathered


def altered(picture: Image) -> Image:
    """The picture as somebody else might have it: mirrored, cut, smaller, pale."""
    from PIL import Image, ImageEnhance, ImageOps

    width, height = picture.size
    box = (width // 12, height // 14, width - width // 10, height - height // 16)
    changed = ImageOps.mirror(picture.convert("RGB")).crop(box)
    changed = changed.resize(
        (changed.width * 2 // 3, changed.height * 2 // 3), Image.Resampling.LANCZOS
    )
    return ImageEnhance.Color(ImageEnhance.Brightness(changed).enhance(1.15)).enhance(0.5)


def show(sample: Path, library: Library) -> None:
    """The whole demonstration. Raises UsageError if `sample` is no folder."""
    if not sample.is_dir():
        raise UsageError(f"no sample collection at {sample}: run this in the project's folder")
    local = sample.parent / "local"
    photographs = gather_photographs(local / "pictures")
    click.echo(f"1. Ingest {sample} and {len(photographs)} photographs (collection {COLLECTION!r})")
    report = library.ingest(
        [sample, local / "pictures"], collection=COLLECTION, progress=progress_line()
    )
    for failure in report.failed:
        click.echo(f"   {failure.path}: {failure.error}", err=True)
    click.echo(
        f"   {report.added} files added, {report.unchanged} unchanged: {report.passages} passages, "
        f"{report.images} pictures in {report.seconds:.1f} s"
    )
    click.echo(f"2. Ask: {QUESTION}")
    answer = library.ask(QUESTION, collection=COLLECTION)
    click.echo(f"   {answer.text}")
    for citation in answer.citations:
        place = f"{citation.document}, page {citation.page}"
        click.echo(f'   [{citation.n}] {place}: "{shorten(citation.quote, 120)}"')
    click.echo(f"3. Find a picture by words: {WORDS}")
    _show_pictures(library, SearchQuery(text=WORDS, kind="images", k=3, collection=COLLECTION))
    if photographs:
        from PIL import Image

        copy = local / "altered-copy.jpg"
        with Image.open(photographs[1]) as original:
            altered(original).save(copy, quality=70)
        click.echo(f"4. Find {photographs[1].name} by an altered copy of it ({copy})")
        same = SearchQuery(image=copy, kind="images", k=1, same_picture=True, collection=COLLECTION)
        _show_pictures(library, same)


def _show_pictures(library: Library, query: SearchQuery) -> None:
    found = library.search(query)
    for hit in found.hits:
        click.echo(f"   {hit.score:.2f}  {hit.path}")
    if not found.hits:
        click.echo("   nothing fits")


def main(arguments: Sequence[str] | None = None) -> None:
    quiet_libraries()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with Library() as library:
            show(Path(given[0] if given else "data/sample"), library)
    except RagcoreError as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
