"""A library whose models are served by another library: our server through our own clients."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ragcore.errors import RagcoreError
from ragcore.library import Library
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.settings import Settings
from ragcore.types import Message

from .conftest import Served, encoder_name

KEY = "TEST_SERVER_KEY"


@pytest.fixture(autouse=True)
def _key(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, served.keys["read"])


@pytest.fixture
def profile(served: Served, tmp_path: Path) -> Path:
    path = tmp_path / "served.toml"
    options = f'url = "{served.url}/v1", key_variable = "{KEY}"'
    path.write_text(
        'name = "served"\n'
        f'[text_encoder]\nweights = "{encoder_name(served)}"\nkind = "openai"\n'
        f'options = {{ {options}, query_input_type = "query" }}\n'
        '[image_text_encoder]\nweights = "starter-clip"\nkind = "open_clip"\n'
        f'[llm]\nweights = "ragcore/own"\nkind = "openai"\noptions = {{ {options} }}\n'
    )
    return path


def test_ingest_and_search_by_served_embeddings(
    served: Served,
    api_files: Path,
    profile: Path,
    tmp_path: Path,
    make_settings: Callable[..., Settings],
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(api_files / "river-gauge-faq.md", files)
    question = "How is the water level measured?"
    with Library(make_settings(tmp_path / "home", profile=str(profile))) as library:
        assert library.ingest([files]).added == 1
        mine = library.admin.models.text_encoder().encode([question], kind="query")
        theirs = served.library.admin.models.text_encoder().encode([question], kind="query")
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
        assert (
            library.search(question, kind="passages", cutoff=0.0)
            .hits[0]
            .path.endswith("gauge-faq.md")
        )
        served_parts = {
            f.subject: f for f in library.admin.doctor().findings if "server" in f.subject
        }
        assert {f.state for f in served_parts.values()} == {"ok"}
        assert served_parts.keys() == {"server text_encoder", "server llm"}


def test_an_answer_comes_in_pieces(served: Served) -> None:
    llm = OpenAILLM(model="ragcore/own", url=f"{served.url}/v1", key_variable=KEY)
    llm.warm_up()
    ask = [Message("user", "Are we allowed to play foosball during working hours?")]
    pieces = list(llm.stream(ask))
    assert "".join(pieces).strip()
    foreign = OpenAILLM(model="ragcore/foreign", url=f"{served.url}/v1", key_variable=KEY)
    with pytest.raises(RagcoreError, match="404"):
        list(foreign.stream(ask))


def test_doctor_names_a_server_that_is_gone(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    profile = tmp_path / "gone.toml"
    profile.write_text(
        'name = "gone"\n[llm]\nweights = "m"\nkind = "openai"\n'
        'options = { url = "http://127.0.0.1:9/v1" }\n'
    )
    with Library(make_settings(tmp_path / "home", profile=str(profile))) as library:
        [found] = [f for f in library.admin.doctor().findings if f.subject == "server llm"]
    assert found.state == "problem"
    assert "no LLM server answers at http://127.0.0.1:9/v1" in found.detail
