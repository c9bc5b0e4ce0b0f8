"""Against an OpenAI-compatible server that is not ours: `transformers serve`, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragcore.errors import Cancelled, RagcoreError
from ragcore.llm.openai_llm import OpenAILLM
from ragcore.llm.transformers_llm import TransformersLLM
from ragcore.models import Sampling
from ragcore.models.device import place
from ragcore.settings import Settings
from ragcore.types import CancelToken, Message
from tests.waiting import wait_until

pytestmark = pytest.mark.full

ASK = [Message("system", "You are brief."), Message("user", "Name three colors.")]


@pytest.fixture(scope="module")
def url(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("serve")
    log = folder / "log"
    command = [Path(sys.executable).with_name("transformers"), "serve", tiny_model,
               "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]  # fmt: skip
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)},
        )
    try:

        def answers() -> bool:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            except OSError:
                assert server.poll() is None, log.read_text()
                return False
            return True

        wait_until(answers, "the server's start", every=0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def test_it_answers_as_the_model_does_in_this_process(
    url: str, tiny_model: Path, tmp_path: Path
) -> None:
    as_saved = place(Settings(home=tmp_path, precision="float32"))
    here = TransformersLLM(tiny_model, name="tiny", placement=as_saved)
    llm = OpenAILLM(model=str(tiny_model), url=url)
    llm.warm_up()
    sampling = Sampling(max_tokens=12)
    pieces = list(llm.stream(ASK, sampling))
    assert "".join(pieces) == "".join(here.stream(ASK, sampling))
    assert len(pieces) > 3


def test_a_cancel_ends_it_and_the_server_answers_the_next(url: str, tiny_model: Path) -> None:
    llm = OpenAILLM(model=str(tiny_model), url=url)
    cancel = CancelToken()
    pieces = llm.stream(ASK, Sampling(max_tokens=1500), cancel=cancel)
    next(pieces)
    cancel.cancel()
    with pytest.raises(Cancelled):
        list(pieces)
    assert "".join(llm.stream(ASK, Sampling(max_tokens=4)))


def test_its_refusal_is_one_line(url: str) -> None:
    with pytest.raises(RagcoreError) as refused:
        list(OpenAILLM(model="no/such-model", url=url, attempts=1).stream(ASK))
    assert "\n" not in str(refused.value)
