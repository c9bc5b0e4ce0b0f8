"""The page on extending is tried as it stands: its packages are written, installed and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ragcore import extensions
from ragcore.cli.main import main
from ragcore.library import Library
from ragcore.models import Models
from ragcore.settings import Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "extending.md").read_text("utf-8")
FILE = re.compile(r"^`([\w-]+/[\w.]+)`\n\n```\w+\n(.*?)^```", re.M | re.S)
FILES: dict[str, str] = dict(FILE.findall(PAGE))
PROFILE = re.search(r'^```toml\n(name = "mine"\n.*?)^```', PAGE, re.M | re.S)
PANCAKES = re.search(r'SAMPLE = """(.*?)"""', FILES["recipe-reader/test_recipe_reader.py"], re.S)
# What needs weights: the diffusion model is used by its own suite alone.
WITHOUT_WEIGHTS = {name.partition("/")[0] for name in FILES} - {"fixed-sampler"}


def project(package: str) -> dict[str, Any]:
    return dict(tomllib.loads(FILES[f"{package}/pyproject.toml"])["project"])


def write_packages(folder: Path) -> None:
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_data(folder: Path) -> Path:
    """A recipe, an image and an archive, and the profile; returns the profile's path."""
    assert PROFILE is not None
    assert PANCAKES is not None
    (folder / "files").mkdir()
    (folder / "files" / "pancakes.rcp").write_text(PANCAKES[1])
    Image.new("RGB", (200, 150), (220, 30, 30)).save(folder / "files" / "apple.png")
    with zipfile.ZipFile(folder / "notes.zip", "w") as archive:
        archive.writestr("birds/heron.txt", "The grey heron waits for fish in shallow water.")
    (folder / "mine.toml").write_text(PROFILE[1])
    return folder / "mine.toml"


def test_every_group_has_a_complete_example() -> None:
    registered: dict[str, str] = {}
    for package in {name.partition("/")[0] for name in FILES}:
        table = project(package)
        for group, points in table["entry-points"].items():
            for value in points.values():
                registered[group.removeprefix("ragcore.")] = value
                module = value.partition(":")[0]
                assert f"{package}/{module}.py" in FILES
                assert f"{package}/test_{module}.py" in FILES
    assert set(registered) == set(extensions.GROUPS)


def test_every_suite_is_named() -> None:
    from ragcore import testing

    for name in testing.__all__:
        assert f"| `{name}` |" in PAGE, f"the table of suites lacks {name}"
        assert re.search(rf"^class Test\w+\({name}\):", PAGE, re.M), f"no example uses {name}"


def test_every_member_of_a_contract_is_described() -> None:
    from ragcore.diffusion.base import Diffuser
    from ragcore.models import (
        LLM,
        ImageTextEncoder,
        ModelContext,
        Reranker,
        Sampling,
        SizedTextEncoder,
        Span,
        SpanReader,
        TextEncoder,
    )
    from ragcore.readers import ContentReader, InputFile, Reader, ReadOptions
    from ragcore.sources import Skipped, Source, SourceContext, SourceItem
    from ragcore.vectors import StoreKey, VectorBackend, VectorContext, VectorStore

    contracts: tuple[type, ...] = (
        *(Reader, ContentReader, TextEncoder, ImageTextEncoder, Reranker, LLM, Diffuser),
        *(VectorBackend, VectorStore, Source, SizedTextEncoder, SpanReader, Span),
        *(InputFile, ReadOptions, ModelContext, Sampling, SourceItem, Skipped, SourceContext),
        *(StoreKey, VectorContext),
    )
    for contract in contracts:
        members = {*vars(contract), *getattr(contract, "__annotations__", {})}
        for member in members:
            if not member.startswith("_") and member not in ("open", "from_settings"):
                assert re.search(rf"\b{member}\b", PAGE), f"{contract.__name__}.{member}"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The packages on the path of this process, and settings that use them."""
    site = tmp_path / "site"
    modules = set(sys.modules)
    for package in WITHOUT_WEIGHTS:
        table = project(package)
        info = site / f"{package.replace('-', '_')}-{table['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {table['version']}\n"
        )
        lines = []
        for group, points in table["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in FILES.items():
            if name.startswith(f"{package}/") and name.endswith(".py"):
                (site / name.partition("/")[2]).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    extensions.rediscover()
    for name, value in settings_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    monkeypatch.undo()
    for name in set(sys.modules) - modules:
        if str(site) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    extensions.rediscover()


def settings_of(folder: Path) -> dict[str, str]:
    return {
        "RAGCORE_HOME": str(folder / "home"),
        "RAGCORE_PROFILE": str(write_data(folder)),
        "RAGCORE_VECTORS": "memory://",
        "RAGCORE_WORKERS": "1",
        "RAGCORE_OCR": "off",
    }


def check_found(hits: list[dict[str, Any]], path: str) -> None:
    assert hits, f"{path} was not found"
    assert hits[0]["path"].endswith(path)


def test_the_examples_work_together_in_python(installed: Path) -> None:
    with Library() as library:
        kitchen = library.collection("kitchen")
        report = kitchen.ingest([installed / "files", f"archive://{installed}/notes.zip"])
        assert (report.added, report.failed) == (3, [])
        [recipe] = [one for one in kitchen.documents() if one.path.endswith(".rcp")]
        assert (recipe.title, recipe.media_type) == ("Pancakes", "text/x-recipe")
        heron = kitchen.search("grey heron", kind="passages").hits[0]
        assert heron.path == f"archive://{installed}/notes.zip/birds/heron.txt"
        red = library.search("red", kind="images", collection="kitchen", cutoff=0.0).hits[0]
        assert red.path.endswith("apple.png")
        answer = kitchen.ask("What does the grey heron do?")
        assert "The grey heron waits for fish in shallow water" in answer.text
        assert answer.citations[0].document_id == heron.document_id
        assert "memory" in library.admin.stores.backend.description
        again = kitchen.ingest([f"archive://{installed}/notes.zip"], sync=True)
        assert (again.unchanged, again.removed) == (1, 0)
    models = Models(Settings())
    assert models.text_encoder().encode(["flour"]).shape == (1, 512)
    assert models.text_encoder().space.name == "hashing@1-512"
    reranker = models.reranker()
    assert reranker is not None
    assert reranker.scores("flour and eggs", ["eggs", "ham"]).tolist() == pytest.approx([1 / 3, 0])


def test_a_wrong_option_is_one_line(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = installed / "mine.toml"
    profile.write_text(profile.read_text().replace("dimension = 512", "size = 3"))
    with pytest.raises(SystemExit) as ended:
        main(["ingest", str(installed / "files"), "-c", "kitchen"])
    assert ended.value.code == 2
    result = capsys.readouterr().err.strip().splitlines()
    assert result == ["ragcore: hashing: unknown option 'size': use dimension"]


def test_a_broken_model_stops_only_what_needs_it(
    installed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (installed / "site" / "echo_llm.py").write_text("import nothing_of_this_name")
    with Library() as library:
        library.ingest([installed / "files"], collection="kitchen")
        assert library.search("flour", collection="kitchen").hits
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["ask", "What do pancakes need?", "-c", "kitchen"])
    assert ended.value.code == 1
    [result] = capsys.readouterr().err.strip().splitlines()
    assert result.startswith("ragcore: LLM 'echo' of echo-llm 1.0 cannot be used: ModuleNotFound")


@pytest.mark.full
def test_the_packages_are_installed_and_used_as_the_page_says(tmp_path: Path) -> None:
    """As somebody would: pip, the command line, and the suites, in an environment of its own."""
    write_packages(tmp_path / "packages")
    python = scratch_environment(tmp_path / "env")
    environment = {**os.environ, **settings_of(tmp_path), "PIP_NO_INDEX": "1"}
    packages = sorted(str(path) for path in (tmp_path / "packages").iterdir())

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(python), *arguments], env=environment, capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == code, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def ragcore(*arguments: str) -> Any:
        return json.loads(run("-m", "ragcore.cli.main", *arguments, "--json"))

    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--python", str(python), "--offline",
         "--no-deps", "--no-build-isolation", *packages],
        env=environment, check=True, capture_output=True,
    )  # fmt: skip
    own = [one for one in ragcore("plugins")["plugins"] if not one["built_in"]]
    assert {one["package"] for one in own} >= {name.partition("/")[0] for name in FILES}
    assert [one for one in own if not one["active"]] == []
    assert "overview-command 1.0" in run("-m", "ragcore.cli.main", "--help")

    report = ragcore("ingest", "files", f"archive://{tmp_path}/notes.zip", "-c", "kitchen")
    assert (report["added"], report["failed"]) == (3, [])
    check_found(ragcore("search", "flour", "-c", "kitchen")["hits"], "pancakes.rcp")
    where = ("--where", "type=text/x-recipe")
    check_found(ragcore("search", "flour", *where, "-c", "kitchen")["hits"], "pancakes.rcp")
    answer = ragcore("ask", "What does the grey heron do?", "-c", "kitchen")
    assert "waits for fish" in answer["answer"]
    assert answer["citations"]
    types = ragcore("overview", "-c", "kitchen")["types"]
    assert types == {"text/x-recipe": 1, "image/png": 1, "text/plain": 1}
    (tmp_path / "notes.zip").unlink()
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("other.txt", "Another file.")
    synced = ragcore("ingest", f"archive://{tmp_path}/notes.zip", "-c", "kitchen", "--sync")
    assert (synced["added"], synced["removed"]) == (1, 1)

    # The suites use models of their own; that of the diffusion model is the starter's.
    environment = {name: value for name, value in environment.items() if name != "RAGCORE_PROFILE"}
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "packages", "packages")


def scratch_environment(folder: Path) -> Path:
    """A virtual environment that sees what is installed here; returns its interpreter."""
    import site
    import sysconfig

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    there = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    here = [sysconfig.get_path("purelib"), *site.getsitepackages()]
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(here)]
    (Path(there) / "ragcore-of-the-tests.pth").write_text("\n".join(lines) + "\n")
    return python
