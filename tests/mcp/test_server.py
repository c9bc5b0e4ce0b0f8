"""The official client over stdio, against `ragcore mcp` as a process of its own."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.weights import WeightStore

NOTES = {
    "heron.txt": "The grey heron stands motionless in shallow water and waits for fish.\n",
    "rent.txt": "The monthly rent of the flat in Weir Street is 840 euros, due on the third.\n",
}
SECRET = "The safe in the cellar opens with the number 4711.\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_profile: Path) -> Path:
    return filled(tmp_path_factory.mktemp("mcp"), str(tiny_profile))


@pytest.fixture(scope="module")
def starter_home(tmp_path_factory: pytest.TempPathFactory, starter_weights: WeightStore) -> Path:
    """The same by the starter profile's models."""
    return filled(tmp_path_factory.mktemp("mcp"), "starter")


def filled(root: Path, profile: str) -> Path:
    for name, text in NOTES.items():
        (root / name).write_text(text)
    secret = root / "hidden"
    secret.mkdir()
    (secret / "safe.txt").write_text(SECRET)
    settings = Settings(home=root / "home", profile=profile, workers=1, ocr="off")
    with Library(settings) as library:
        library.ingest([root / name for name in NOTES], collection="notes")
        library.ingest([secret], collection="foreign")
    return root / "home"


def server(home: Path, *arguments: str) -> StdioServerParameters:
    import os

    named = ("RAGCORE_WEIGHTS_CACHE", "RAGCORE_PROFILE", "HOME", "PATH")
    kept = {k: v for k, v in os.environ.items() if k in named}
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "ragcore.cli.main", "mcp", *arguments],
        env={**kept, "RAGCORE_HOME": str(home)},
    )


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return dict(result.structured_content)


@pytest.mark.parametrize(
    "models",
    ["tiny", pytest.param("starter", marks=[pytest.mark.full, pytest.mark.starter_models])],
)
def test_an_assistant_lists_searches_asks_and_reads(
    models: str, request: pytest.FixtureRequest
) -> None:
    home: Path = request.getfixturevalue("home" if models == "tiny" else "starter_home")

    async def journey() -> None:
        async with Client(server(home, "-c", "notes")) as client:
            tools = (await client.list_tools()).tools
            names = {tool.name for tool in tools}
            assert names == {"list_collections", "search", "ask", "read_page", "imagine"}
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
            assert all(tool.description for tool in tools)
            assert all(tool.output_schema for tool in tools if tool.name != "imagine")

            listed = await call(client, "list_collections")
            assert [one["name"] for one in listed["collections"]] == ["notes"]

            found = await call(client, "search", text="a heron that waits for fish")
            assert "heron" in found["hits"][0]["text"]
            answer = await call(client, "ask", question="How much is the monthly rent?")
            cited, quote = found["hits"][0], "waits for fish"
            if models == "starter":
                assert "840" in answer["answer"]
                cited = answer["citations"][0]
                quote = cited["quote"]
            page = await call(
                client, "read_page", document_id=cited["document_id"], page=cited["page"] or 1
            )
            assert quote in page["text"]
            assert page["next_start"] is None

            # The other collection does not exist for this server.
            for tool, arguments in (
                ("search", {"text": "safe", "collection": "foreign"}),
                ("ask", {"question": "What opens the safe?", "collection": "foreign"}),
                ("read_page", {"document_id": 3}),
                ("search", {"text": ""}),
            ):
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error
                assert "4711" not in str(refused.content)
                assert "Traceback" not in str(refused.content)

    anyio.run(journey)


def test_without_a_name_the_collections_are_reported(home: Path) -> None:
    async def journey() -> None:
        async with Client(server(home)) as client:
            refused = await client.call_tool("search", {"text": "safe"})
            assert refused.is_error
            assert "foreign, notes" in str(refused.content)
            found = await call(client, "search", text="number of the safe", collection="foreign")
            assert "4711" in found["hits"][0]["text"]

    anyio.run(journey)


@pytest.mark.full
@pytest.mark.starter_models
def test_the_journey_of_the_docs(
    starter_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "docs" / "how-to" / "mcp.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    line = 'StdioServerParameters(command="ragcore", args=arguments)'
    assert line in code
    monkeypatch.chdir(root)
    names = {
        "given": server(tmp_path / "home", "--write", "--allow", str(root / "data" / "sample"))
    }
    exec(compile(code.replace(line, "given"), "docs/how-to/mcp.md", "exec"), names)
    result: dict[str, Any] = names["results"]  # type: ignore[assignment]
    assert not [tool for tool, result in result.items() if result.is_error], result
    assert result["add_text"].structured_content["added"] == 1
    assert result["add_files"].structured_content["passages"] > 1
    assert "heron" in result["search"].structured_content["hits"][0]["text"]
    assert result["ask"].structured_content["citations"]
    image, recipe = result["imagine"].content
    assert base64.b64decode(image.data).startswith(b"\x89PNG")
    assert "seed 7" in recipe.text


def test_adding_takes_write_and_stays_in_its_collections(home: Path, tmp_path: Path) -> None:
    async def journey() -> None:
        async with Client(server(home, "-c", "notes")) as client:
            assert "add_text" not in {tool.name for tool in (await client.list_tools()).tools}
        async with Client(
            server(home, "-c", "notes", "--write", "--allow", str(tmp_path))
        ) as client:
            for tool, arguments in (
                ("add_text", {"name": "x.md", "text": "x", "collection": "foreign"}),
                ("add_text", {"name": "x.md", "text": "x", "collection": "another"}),
                ("add_files", {"paths": [str(tmp_path / "nowhere")]}),
            ):
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error, tool
                assert "Traceback" not in str(refused.content)

    anyio.run(journey)
