"""`ragcore imagine` on a tiny random model: files, JSON, one clear line for what is wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragcore.cli.main import main

from .test_imaginer import pixels
from .tiny import make_profile

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    starter_weights: object,
) -> Run:
    monkeypatch.setenv("RAGCORE_PROFILE", str(make_profile(tmp_path, tiny_folder)))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["imagine", *arguments])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def test_images_and_json(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(
        "red apple", "--style", "flat", "--seed", "5", "--steps", "2", "--count", "2",
        "--guidance", "class:circles:2", "-o", "apple.png", "--json",
    )  # fmt: skip
    assert code == 0
    result: dict[str, Any] = json.loads(out)
    assert [Path(file["path"]).name for file in result["files"]] == ["apple-1.png", "apple-2.png"]
    assert [file["seed"] for file in result["files"]] == [5, 6]
    assert result["model"] == "tiny"
    assert Image.open(tmp_path / "apple-2.png").size == (32, 32)
    code, out, _ = run("--recipe", "apple-2.png", "-o", "again.png")
    assert code == 0
    one, two = ((tmp_path / name).read_bytes() for name in ("apple-2.png", "again.png"))
    assert np.abs(pixels(one) - pixels(two)).max() <= 2


def test_controls(run: Run, tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "white")
    image.paste((0, 0, 0), (8, 8, 24, 24))
    image.save(tmp_path / "a:b.png")
    plain = ["--seed", "1", "--steps", "2", "--json", "-o"]
    assert run("x", *plain, "none.png")[0] == 0
    assert run("x", "--control", "canny:a:b.png:0.8:0-0.5", *plain, "one.png")[0] == 0
    both = ["--control", "canny:a:b.png", "--control", "scribble:a:b.png:0.5"]
    assert run("x", *both, *plain, "two.png")[0] == 0
    made = [(tmp_path / f"{name}.png").read_bytes() for name in ("none", "one", "two")]
    assert len({pixels(png).tobytes() for png in made}) == 3


WRONG = [
    (["x", "--steps", "0"], "steps must be a whole number from 1 to 1,000, not 0"),
    (["x", "--steps", "10000"], "not 10000"),
    (["x", "--size", "33"], "in steps of 16"),
    (["x", "--style", "cubist"], "unknown style 'cubist'"),
    (["x", "--guidance", "class:unicorns:3"], "unknown class 'unicorns'"),
    (["x", "--guidance", "class:circles"], "class:NAME:SCALE"),
    (["x", "--guidance", "class:circles:many"], "not a number: 'many'"),
    (["x", "--guidance", "smell:roses:3"], "unknown guidance 'smell'"),
    (["x", "--guidance", "class:circles:nan"], "not a number"),
    (["x", "--control", "canny"], "KIND:FILE"),
    (["x", "--control", "canny:/no/such.png"], "no such file: /no/such.png"),
    (["x", "--control", "smell:broken.png"], "unknown condition 'smell'"),
    (["x", "--control", "canny:broken.png:1:0.8-0.2"], "0 <= START < END <= 1"),
    (["x", "--control", "canny:broken.png:99"], "at most 10"),
    (["x", "--sampler", "magic"], "unknown sampler 'magic'"),
    (["x", "--scale", "-1"], "at least 0"),
    (["x", "--count", "0"], "from 1 to 64"),
    (["x", "--strength", "2"], "from 0 to 1"),
    (["x", "--lora", "/no/such.safetensors"], "no such file"),
    (["x", "--lora", "broken.png"], "tiny takes no LoRA"),
    (["x", "-o", "image.jpg"], "takes a .png file"),
    (["x", "-o", "no/such/folder/x.png"], "there is no folder"),
    (["--recipe", "plain.png"], "carries no recipe"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_wrong_usage_is_one_line(
    run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_broken_files_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    for arguments in (["--control", "canny:broken.png"], ["--from", "broken.png"]):
        code, _, err = run("x", *arguments)
        assert code == 1
        assert "not a readable image" in err
        assert len(err.strip().splitlines()) == 1


def test_a_damaged_recipe_is_said(run: Run, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    for text in ("{", "[]", '{"version": 1}', '{"version": 99}', '{"version": 1, "controls": 3}'):
        info, file = PngInfo(), io.BytesIO()
        info.add_text("ragcore", text)
        Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
        (tmp_path / "damaged.png").write_bytes(file.getvalue())
        code, _, err = run("--recipe", "damaged.png")
        assert code == 2
        assert "recipe" in err


def test_a_profile_without_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.toml"
    path.write_text('name = "none"\n', "utf-8")
    monkeypatch.setenv("RAGCORE_PROFILE", str(path))
    with pytest.raises(SystemExit) as ended:
        main(["imagine", "x"])
    assert ended.value.code == 2
    assert "makes no images" in capsys.readouterr().err
