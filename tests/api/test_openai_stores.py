"""OpenAI's files, vector stores and responses, by the official client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from ragcore.access.keys import Keys
from ragcore.encoders.served_reranker import ServedReranker
from ragcore.library import Library
from ragcore.settings import Settings

from .conftest import Served, running

NOTE = b"The ferry to the island leaves at nine in the morning from the north pier.\n"
OTHER = b"Bread needs flour, water, salt and yeast.\n"


def client_of(served: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0, timeout=600)


@pytest.fixture(scope="module")
def admin(served: Served) -> openai.OpenAI:
    return client_of(served, served.all["admin"])


def test_files_are_put_into_a_store_searched_and_answered_from(admin: openai.OpenAI) -> None:
    store = admin.vector_stores.create(name="timetables")
    assert store.file_counts.total == 0
    note = admin.files.create(file=("ferry.txt", NOTE), purpose="assistants")
    assert (note.filename, note.bytes) == ("ferry.txt", len(NOTE))
    assert admin.files.content(note.id).read() == NOTE
    put = admin.vector_stores.files.create_and_poll(note.id, vector_store_id=store.id)
    assert (put.status, put.id) == ("completed", note.id)
    other = admin.files.create(file=("bread.txt", OTHER), purpose="assistants")
    batch = admin.vector_stores.file_batches.create_and_poll(store.id, file_ids=[other.id])
    assert (batch.status, batch.file_counts.completed) == ("completed", 1)
    assert admin.vector_stores.retrieve(store.id).file_counts.completed == 2
    listed = list(admin.vector_stores.files.list(store.id, limit=1))
    assert sorted(one.attributes["title"] for one in listed) == ["bread.txt", "ferry.txt"]

    question = "When does the ferry to the island leave?"
    found = admin.vector_stores.search(store.id, query=question, max_num_results=1).data
    assert [one.filename for one in found] == ["ferry.txt"]
    assert "nine" in found[0].content[0].text
    text = {"type": "eq", "key": "type", "value": "pdf"}
    assert not admin.vector_stores.search(store.id, query=question, filters=text).data

    tools = [{"type": "file_search", "vector_store_ids": [store.id]}]
    made = admin.responses.create(
        model="ragcore", input=question, tools=tools, include=["file_search_call.results"]
    )
    call, message = made.output
    assert call.queries == [question]
    assert call.results is not None
    assert "nine" in str(call.results[0])
    assert made.output_text == message.content[0].text
    extension = made.model_extra["ragcore"]  # type: ignore[index]
    cited = [one.file_id for one in message.content[0].annotations]
    assert cited == [f"doc-{one['document_id']}" for one in extension["citations"]]
    with admin.responses.stream(model="ragcore", input=question, tools=tools) as stream:
        deltas = [one.delta for one in stream if one.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text == made.output_text

    admin.vector_stores.files.delete(note.id, vector_store_id=store.id)
    assert admin.vector_stores.retrieve(store.id).file_counts.total == 1
    assert admin.files.delete(note.id).deleted
    with pytest.raises(openai.NotFoundError):
        admin.files.retrieve(note.id)
    assert admin.vector_stores.update(store.id, name="timetable").name == "timetable"
    assert admin.vector_stores.delete(store.id).deleted
    assert "timetable" not in [one.name for one in admin.vector_stores.list()]


def test_a_file_that_cannot_be_read_says_why(admin: openai.OpenAI) -> None:
    store = admin.vector_stores.create(name="broken")
    bad = admin.files.create(file=("bad.pdf", b"%PDF-1.7 nothing"), purpose="assistants")
    put = admin.vector_stores.files.create_and_poll(bad.id, vector_store_id=store.id)
    assert put.status == "failed"
    assert put.last_error is not None
    assert put.last_error.message
    admin.vector_stores.delete(store.id)


def test_files_and_stores_of_others_do_not_exist(served: Served, admin: openai.OpenAI) -> None:
    keys = Keys(served.library.admin.catalog)
    one, two = (keys.create(name, scope="write", collections=["own"])[0] for name in ("a", "b"))
    first, second = client_of(served, one), client_of(served, two)
    mine = first.files.create(file=("a.txt", NOTE), purpose="assistants")
    assert [row.id for row in first.files.list()] == [mine.id]
    assert not list(second.files.list())
    [own] = [row for row in first.vector_stores.list() if row.name == "own"]
    foreign = next(row for row in admin.vector_stores.list() if row.name == "foreign")
    for call in (
        lambda: second.files.retrieve(mine.id),
        lambda: second.files.delete(mine.id),
        lambda: second.vector_stores.files.create(own.id, file_id=mine.id),
        lambda: first.vector_stores.retrieve(foreign.id),
        lambda: first.vector_stores.search(foreign.id, query="safe"),
        lambda: first.vector_stores.files.create(foreign.id, file_id=mine.id),
        lambda: first.responses.create(
            model="x", input="safe?",
            tools=[{"type": "file_search", "vector_store_ids": [own.id, foreign.id]}],
        ),
        lambda: first.vector_stores.retrieve("vs_x"),
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            call()
    for call in (
        lambda: first.vector_stores.delete(own.id),
        lambda: first.vector_stores.create(name="new"),
        lambda: client_of(served, served.keys["read"]).files.create(
            file=("a.txt", NOTE), purpose="assistants"
        ),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            call()
    first.files.delete(mine.id)


def test_what_responses_do_not_have_is_refused(admin: openai.OpenAI) -> None:
    [own] = [row for row in admin.vector_stores.list() if row.name == "own"]
    search = {"type": "file_search", "vector_store_ids": [own.id]}
    for tools, more in (
        ([], {}),
        ([search, {"type": "web_search"}], {}),
        ([search], {"previous_response_id": "resp_1"}),
    ):
        with pytest.raises(openai.APIStatusError):
            admin.responses.create(model="ragcore", input="Who?", tools=tools, **more)


def test_rerank_without_a_reranker_is_said(served: Served) -> None:
    with served.client(served.keys["read"]) as client:
        body = {"query": "ferry", "documents": ["a", "b"]}
        answer: httpx.Response = client.post("/v1/rerank", json=body)
        assert answer.status_code == 404
        assert "has no reranker" in answer.text


def test_rerank_by_our_own_client_is_the_profiles(
    tmp_path: Path, tiny_profile: Path, make_settings: Callable[..., Settings]
) -> None:
    profile = tmp_path / "reranked.toml"
    part = '\n[reranker]\nweights = "ms-marco-minilm-l12"\nkind = "onnx"\n'
    profile.write_text(tiny_profile.read_text() + part)
    texts = ["Bread needs salt.", "The ferry leaves at nine.", "It rains."]
    with Library(make_settings(tmp_path / "home", profile=str(profile))) as library:
        expected = library.models.rerank("When does the ferry leave?", texts)
        with running(library, keys_needed=False) as url:
            made = ServedReranker(model="ms-marco-minilm-l12", options={"url": f"{url}/v1"})
            scores = made.scores("When does the ferry leave?", texts)
            body = {"query": "ferry", "documents": texts, "top_n": 1, "return_documents": True}
            best = httpx.post(f"{url}/v1/rerank", json=body, timeout=60).json()["results"]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.argmax() == 1
    assert [(one["index"], one["document"]["text"]) for one in best] == [(1, texts[1])]
