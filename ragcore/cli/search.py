"""`ragcore search`."""

from __future__ import annotations

import click

from ragcore.cli.output import as_json_option, echo, print_json, shorten
from ragcore.errors import UsageError
from ragcore.library import DEFAULT_COLLECTION, Library, filters
from ragcore.serialize import hit_json
from ragcore.text import clock
from ragcore.types import SearchQuery, SearchResult


def parse_where(pairs: tuple[str, ...]) -> dict[str, str]:
    """Filters as {"type": "pdf", "date>=": …} from "type=pdf", "date>=2024-01-01"."""
    where: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"--where takes FIELD=VALUE, not {pair[:80]!r}")
        key = name.strip()
        key = f"{key}=" if key.endswith((">", "<")) else key
        if key in where:
            raise UsageError(f"--where {key} is given twice")
        where[key] = value.strip()
    return where


where_option = click.option(
    "--where",
    multiple=True,
    metavar="FIELD=VALUE",
    help='Filter, as in type=pdf or "modified>=2024"; may be repeated. `ragcore search --help` '
    "lists them.",
)


class _WithFilters(click.Command):
    """A command whose help lists the filters."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Filters (--where)"):
            formatter.write_dl(filters.lines())


@click.command("search", cls=_WithFilters)
@click.argument("text", required=False, default="")
@click.option("--image", help="An image to search by, alone or with words.")
@click.option("--minus", default="", help="Words to move away from.")
@click.option(
    "--kind", type=click.Choice(["passages", "images", "all"]), default="all", show_default=True
)
@click.option("-k", "k", type=int, default=10, show_default=True, help="Results of each kind.")
@where_option
@click.option("-c", "--collection", default=DEFAULT_COLLECTION, show_default=True)
@click.option("--cutoff", type=float, help="Least score shown, 0 to 1; 0 shows everything.")
@click.option("--same", is_flag=True, help="With --image: find copies of this very image.")
@click.option("--rerank/--no-rerank", default=None, help="Override the profile's choice.")
@as_json_option
def command(
    text: str,
    image: str | None,
    minus: str,
    kind: str,
    k: int,
    where: tuple[str, ...],
    collection: str,
    cutoff: float | None,
    same: bool,
    rerank: bool | None,
    as_json: bool,
) -> None:
    """Find passages and images by words, an image or both.

    For example: ragcore search "wing flutter" --where type=pdf --where "modified>=2024-01-01"
    """
    query = SearchQuery(
        text=text,
        image=image,
        minus=minus,
        kind=kind,  # type: ignore[arg-type]  # click has checked it
        k=k,
        where=parse_where(where),
        collection=collection,
        cutoff=cutoff,
        same_image=same,
        rerank=rerank,
    )
    with Library() as library:
        result = library.search(query)
    if as_json:
        print_json(
            {
                "hits": [hit_json(hit) for hit in result.hits],
                "below": [hit_json(hit) for hit in result.below],
                "cutoff": result.cutoff,
                "seconds": dict(result.seconds),
            }
        )
    else:
        _show(result)


def _show(result: SearchResult) -> None:
    for hit in result.hits:
        page = f", page {hit.page}" if hit.page is not None else ""
        page = f", at {clock(hit.second)}" if hit.second is not None else page
        echo(f"{hit.score:.2f}  {hit.document}{page}  ({hit.path})")
        if hit.text:
            by = f"  [caption by {hit.caption_by}]" if hit.caption_by else ""
            echo(f"      {shorten(hit.text)}{by}")
    if not result.hits:
        nearest = f"; the nearest scores {result.below[0].score:.2f}" if result.below else ""
        echo(f"nothing fits (cut-off {result.cutoff:.2f}{nearest}; --cutoff 0 shows it)")
