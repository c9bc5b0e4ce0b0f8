"""Images over HTTP by the official client: a small image maker, a real server."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image

from ragcore.library import Library
from ragcore.settings import Settings

from ..diffusion.tiny import SIZE, make_model, make_profile
from .conftest import running


@pytest.fixture(scope="module")
def painter(
    make_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("painter")
    profile = make_profile(folder, make_model(folder / "model"))
    with (
        Library(make_settings(folder / "home", profile=str(profile))) as library,
        running(library, keys_needed=False) as url,
    ):
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_images_are_made_and_made_again(painter: openai.OpenAI) -> None:
    more = {"ragcore": {"seed": 3, "steps": 2, "guidance": ["class:circles:1"]}}
    made = painter.images.generate(prompt="a red circle", n=2, extra_body=more)
    assert [one.model_extra["ragcore"]["seed"] for one in made.data] == [3, 4]
    images = [opened(one.b64_json) for one in made.data]
    assert {image.size for image in images} == {(SIZE, SIZE)}
    assert all(image.info for image in images), "each carries its recipe"
    again = painter.images.generate(prompt="a red circle", n=2, extra_body=more)
    assert [one.b64_json for one in again.data] == [one.b64_json for one in made.data]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"size": "64x32"}, 400, "a square"),
        ({"size": "17x17"}, 400, "pixels a side"),
        ({"extra_body": {"ragcore": {"steps": 0}}}, 422, "steps"),
        ({"extra_body": {"ragcore": {"colour": "red"}}}, 422, "colour"),
        (
            {"extra_body": {"ragcore": {"steps": 1, "guidance": ["class:dragons:1"]}}},
            400,
            "dragons",
        ),
        ({"extra_body": {"ragcore": {"steps": 1, "style": "baroque"}}}, 400, "baroque"),
        ({"response_format": "url"}, 422, "b64_json"),
    ],
)
def test_what_cannot_be_made_is_said(
    painter: openai.OpenAI, fields: dict, status: int, message: str
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        painter.images.generate(prompt="x", **fields)
    assert refused.value.status_code == status
    assert message in refused.value.response.text


def test_a_profile_without_an_image_maker_says_so(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    profile = tmp_path / "plain.toml"
    profile.write_text(
        'name = "plain"\n[text_encoder]\nweights = "minilm-l6-v2"\nkind = "sentence-transformers"\n'
    )
    with (
        Library(make_settings(tmp_path / "home", profile=str(profile))) as library,
        running(library, keys_needed=False) as url,
    ):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.InternalServerError) as refused:
            client.images.generate(prompt="a red boat")
    assert refused.value.status_code == 501
    assert "no image maker" in str(refused.value)
