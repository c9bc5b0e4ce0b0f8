"""The routes, called over a real connection: what is found, asked, fetched, put in."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.waiting import wait_until

from .conftest import Served
from .sse import events

OWN = "/api/v1/collections/own"
HANDBOOK = "Brightwater Instruments Staff Handbook"
QUESTION = "Are we allowed to play foosball during working hours?"
SAME_WORDS = "Are we allowed to play table games during working hours?"  # for the tiny models


def documents(client: httpx.Client, collection: str = "own") -> dict[str, int]:
    answer = client.get(f"/api/v1/collections/{collection}/documents").raise_for_status().json()
    return {item["name"]: item["id"] for item in answer["items"]}


def wait_for(client: httpx.Client, location: str) -> dict[str, object]:
    def ended() -> dict[str, object]:
        job = dict(client.get(location).raise_for_status().json())
        return {} if job["state"] == "running" else job

    return wait_until(ended, "the job's end", every=0.1)


def nothing_is_answered(client: httpx.Client) -> bool:
    return 'ragcore_work{kind="answer",state="running"} 0.0' in client.get("/metrics").text


def test_collections_report_what_they_hold(reader: httpx.Client) -> None:
    items = reader.get("/api/v1/collections").json()["items"]
    assert [item["name"] for item in items] == ["own"]
    assert items[0]["documents"] >= 4
    assert items[0]["images"] >= 1
    assert reader.get(OWN).json()["passages"] == items[0]["passages"]


def test_search_by_words(reader: httpx.Client) -> None:
    body = {"text": "table games during working hours", "limit": 3}
    found = reader.post(f"{OWN}/search", json=body).json()
    assert found["hits"][0]["document"] == HANDBOOK
    assert found["hits"][0]["kind"] == "passage"
    assert "table games" in found["hits"][0]["text"]
    assert found["seconds"]["total"] > 0
    none = reader.post(f"{OWN}/search", json={"text": "quantum chromodynamics"}).json()
    assert none["hits"] == []


def test_pages_of_a_search_follow_each_other(reader: httpx.Client) -> None:
    whole = reader.post(
        f"{OWN}/search", json={"text": "rules", "kind": "passages", "limit": 9, "cutoff": 0}
    ).json()
    seen, cursor = [], None
    for _ in range(3):
        body = {"text": "rules", "kind": "passages", "limit": 3, "cutoff": 0, "cursor": cursor}
        page = reader.post(f"{OWN}/search", json=body).raise_for_status().json()
        seen += [hit["id"] for hit in page["hits"]]
        cursor = page["next_cursor"]
    assert seen == [hit["id"] for hit in whole["hits"]]
    assert len(set(seen)) == 9
    assert reader.post(f"{OWN}/search", json={"text": "x", "cursor": "?"}).status_code == 400


def test_filters_and_minus(reader: httpx.Client) -> None:
    body = {"text": "rules", "where": {"type": "pdf"}, "kind": "passages", "cutoff": 0}
    hits = reader.post(f"{OWN}/search", json=body).json()["hits"]
    assert {hit["media_type"] for hit in hits} == {"application/pdf"}
    wrong = reader.post(f"{OWN}/search", json={"text": "rules", "where": {"colour": "red"}})
    assert wrong.status_code == 400
    assert "unknown filter" in wrong.json()["detail"]


def test_search_by_image(reader: httpx.Client, api_files: Path) -> None:
    data = (api_files / "sun.png").read_bytes()
    by_form = reader.post(
        f"{OWN}/search/image", files={"image": ("sun.png", data)}, data={"same_image": "true"}
    ).json()
    assert Path(by_form["hits"][0]["path"]).name == "sun.png"
    body = {"image": base64.b64encode(data).decode(), "kind": "images", "text": "gold", "cutoff": 0}
    composed = reader.post(f"{OWN}/search", json=body).json()
    assert composed["hits"][0]["kind"] == "image"
    bad = reader.post(f"{OWN}/search/image", files={"image": ("x.png", b"no image")})
    assert bad.status_code == 422


def test_images_are_labelled_page_by_page(reader: httpx.Client) -> None:
    body = {"labels": ["a yellow sun", "a bicycle"], "top": 1, "limit": 1}
    result = reader.post(f"{OWN}/label", json=body).json()
    assert result["total"] >= 1
    assert {label["label"] for one in result["images"] for label in one["labels"]} <= set(
        body["labels"]
    )
    seen = [one["image"]["id"] for one in result["images"]]
    while result["next_cursor"]:
        result = reader.post(f"{OWN}/label", json={**body, "cursor": result["next_cursor"]}).json()
        seen += [one["image"]["id"] for one in result["images"]]
    assert len(seen) == len(set(seen)) == result["total"]
    twice = reader.post(f"{OWN}/label", json={"labels": ["sun", "Sun"]})
    assert twice.status_code == 400
    assert "given twice" in twice.json()["detail"]
    assert reader.post(f"{OWN}/label", json={"labels": ["sun"]}).status_code == 422


@pytest.mark.full
def test_ask_answers_with_a_citation_that_can_be_looked_at(asker: httpx.Client) -> None:
    answer = asker.post(f"{OWN}/ask", json={"question": QUESTION, "show_prompt": True}).json()
    assert not answer["abstained"]
    citation = answer["citations"][0]
    assert citation["document"] == HANDBOOK
    assert QUESTION in answer["prompt"]
    start, end = citation["span"]
    page = f"{OWN}/documents/{citation['document_id']}/pages/{citation['page']}"
    text = asker.get(page).json()
    assert text["text"][start - text["start"] : end - text["start"]] == citation["quote"]
    params = {"start": start, "end": end, "width": 600}
    marked = asker.get(f"{page}/image", params=params)
    plain = asker.get(f"{page}/image", params={"width": 600})
    assert marked.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(marked.content)) as image:
        assert image.width == 600
    assert marked.content != plain.content


def test_ask_within_a_scope(reader: httpx.Client) -> None:
    body = {"question": "How many pages does the handbook have?", "documents": [HANDBOOK]}
    answer = reader.post(f"{OWN}/ask", json=body).json()
    assert (answer["kind"], answer["composed"]) == ("collection", True)
    assert answer["answer"] == f"{HANDBOOK} has 12 pages."
    unknown = reader.post(f"{OWN}/ask", json={**body, "documents": ["atlas.pdf"]})
    assert unknown.status_code == 400
    assert "there is no document 'atlas.pdf'" in unknown.text
    other = reader.post(f"{OWN}/ask", json={**body, "collections": ["nowhere"]})
    assert other.status_code in (400, 404)


def test_a_page_is_drawn_with_a_part_of_it_marked(reader: httpx.Client) -> None:
    hit = reader.post(f"{OWN}/search", json={"text": "table games"}).json()["hits"][0]
    page = f"{OWN}/documents/{hit['document_id']}/pages/{hit['page']}"
    start = reader.get(page).json()["start"]
    params = {"start": start + 10, "end": start + 60, "width": 600}
    marked = reader.get(f"{page}/image", params=params)
    plain = reader.get(f"{page}/image", params={"width": 600})
    assert marked.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(marked.content)) as image:
        assert image.width == 600
    assert marked.content != plain.content


def test_ask_abstains_where_the_answer_is_not_in_the_documents(reader: httpx.Client) -> None:
    answer = reader.post(f"{OWN}/ask", json={"question": "Who won the battle of Hastings?"}).json()
    assert answer["abstained"]
    assert answer["citations"] == []
    assert {"document", "page", "text"} < set(answer["nearest"][0])


@pytest.mark.parametrize("models", ["tiny", pytest.param("starter", marks=pytest.mark.full)])
def test_ask_in_events(request: pytest.FixtureRequest, models: str) -> None:
    client: httpx.Client = request.getfixturevalue("reader" if models == "tiny" else "asker")
    question = SAME_WORDS if models == "tiny" else QUESTION
    with client.stream("POST", f"{OWN}/ask/stream", json={"question": question}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        result = events(answer.iter_lines())
    names = [name for name, _ in result]
    assert names[0] == "hits"
    assert names[-1] == "answer"
    assert names.count("text") > 2
    assert result[-1][1]["abstained"] == (not result[-1][1]["citations"])
    assert models == "tiny" or result[-1][1]["citations"]


def test_ask_for_a_form(reader: httpx.Client) -> None:
    form = {
        "type": "object",
        "properties": {"table_games_permitted": {"type": "boolean"}, "fee": {"type": "number"}},
        "required": ["table_games_permitted"],
        "additionalProperties": False,
    }
    answer = reader.post(f"{OWN}/ask", json={"question": SAME_WORDS, "form": form}).json()
    assert json.loads(answer["answer"]) == {"table_games_permitted": False}
    (field,) = answer["fields"]
    assert (field["path"], field["value"]) == ("table_games_permitted", False)
    assert field["citation"] == answer["citations"][0]
    form["required"] = ["fee"]
    answer = reader.post(f"{OWN}/ask", json={"question": SAME_WORDS, "form": form}).json()
    assert (answer["abstained"], answer["answer"]) == (True, "Not found in the documents: fee")


def test_an_asker_who_goes_away_stops_the_answer(
    served: Served, reader: httpx.Client, admin: httpx.Client
) -> None:
    before = threading.active_count()
    body = {"question": SAME_WORDS}
    with reader.stream("POST", f"{OWN}/ask/stream", json=body) as answer:
        next(answer.iter_lines())
    wait_until(lambda: nothing_is_answered(admin), "the end of the answer", every=0.1)
    assert threading.active_count() <= before + 16


@pytest.mark.full
def test_an_asker_who_hangs_up_is_not_answered(answering: Served, asker: httpx.Client) -> None:
    watcher = answering.client(answering.all["admin"])

    def answers() -> float:
        counted = re.findall(
            r"^ragcore_answers_total\S* (\S+)$", watcher.get("/metrics").text, re.M
        )
        return sum(map(float, counted))

    before = answers()
    body = {"question": "What must visitors to the staff's workshops wear?", "k": 6}
    with answering.client(answering.keys["read"]) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.post(f"{OWN}/ask", json=body, timeout=0.2)
    # The next one is answered after it, by the same worker: then it is over, if it ever began.
    asker.post(f"{OWN}/ask", json={"question": QUESTION}).raise_for_status()
    wait_until(lambda: nothing_is_answered(watcher), "the end of the answers", every=0.1)
    assert answers() == before + 1
    watcher.close()


def test_documents_pages_files(reader: httpx.Client, api_files: Path) -> None:
    ids = documents(reader)
    one = reader.get(f"{OWN}/documents/{ids['staff-handbook.pdf']}").json()
    assert one["pages"] > 1
    assert one["coverage"]["pages"]["read"] == one["pages"]
    assert (one["incomplete"], one["coverage"]["skipped"]) == (False, [])
    whole = reader.get(f"{OWN}/documents", params={"incomplete": False}).json()
    assert whole["total"] == len(ids)
    assert reader.get(f"{OWN}/documents", params={"incomplete": True}).json()["total"] == 0
    file = reader.get(f"{OWN}/documents/{one['id']}/file")
    assert file.content == (api_files / "staff-handbook.pdf").read_bytes()
    assert file.headers["content-type"] == "application/pdf"
    web = reader.get(f"{OWN}/documents/{ids['visitor-guide.html']}/file")
    assert web.headers["content-type"] == "application/octet-stream"
    assert web.headers["content-disposition"].startswith("attachment")
    assert web.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in web.headers["content-security-policy"]
    assert reader.get(f"{OWN}/documents/{one['id']}/pages/999").status_code == 404
    first = reader.get(f"{OWN}/documents", params={"limit": 2, "order": "size"}).json()
    assert first["total"] == len(ids)
    rest = reader.get(f"{OWN}/documents", params={"order": "size", "cursor": first["next_cursor"]})
    names = [item["name"] for item in [*first["items"], *rest.json()["items"]]]
    assert sorted(names) == sorted(ids)


def test_images(reader: httpx.Client) -> None:
    images = reader.get(f"{OWN}/images").json()["items"]
    sun = next(one for one in images if one["path"].endswith("sun.png"))
    for part, side in (("thumbnail", 320), ("view", 320)):
        data = reader.get(f"{OWN}/images/{sun['id']}/{part}")
        assert data.headers["content-type"] == "image/webp"
        with Image.open(io.BytesIO(data.content)) as image:
            assert max(image.size) == side


def test_a_question_about_an_image(reader: httpx.Client, api_files: Path) -> None:
    file = {"image": ("sun.png", (api_files / "sun.png").read_bytes())}
    result = reader.post(
        "/api/v1/images/ask", files=file, data={"question": "What shape is in the image?"}
    ).json()
    assert result["answer"]
    images = reader.get(f"{OWN}/images").json()["items"]
    sun = next(one for one in images if one["path"].endswith("sun.png"))
    body = {"question": "What shape is in the image?"}
    assert (
        reader.post(f"{OWN}/images/{sun['id']}/ask", json=body).json()["answer"] == result["answer"]
    )
    broken = reader.post("/api/v1/images/ask", files={"image": ("x.png", b"no image")})
    assert broken.status_code == 422
    assert broken.json()["detail"]


def test_captions_and_classifiers(served: Served, reader: httpx.Client) -> None:
    assert reader.get("/api/v1/classifiers").json() == {"items": []}
    assert reader.get("/api/v1/classifiers/none").status_code == 404
    assert reader.get(f"{OWN}/labels").json() == {"labels": {}}
    with served.client(served.keys["write"]) as writer:
        missing = writer.post(f"{OWN}/classify", json={"classifier": "none"})
        assert missing.status_code == 404
        headers = {"Idempotency-Key": "caption-1"}
        started = writer.post(f"{OWN}/captions", headers=headers)
        assert started.status_code == 202
        again = writer.post(f"{OWN}/captions", headers=headers)
        assert again.json() == started.json()
        assert wait_for(writer, started.headers["location"])["state"] == "done"
    images = reader.get(f"{OWN}/images").json()["items"]
    assert all(one["caption"] for one in images)


def test_upload_ingest_watch_and_remove(served: Served) -> None:
    with served.client(served.keys["write"]) as writer:
        files = [("files", ("heron.txt", b"The grey heron waits in shallow water for fish."))]
        started = writer.post(f"{OWN}/uploads", files=files)
        assert started.status_code == 202
        location = started.headers["location"]
        with writer.stream("GET", f"{location}/events") as stream:
            result = events(stream.iter_lines())
        assert result[-1][0] == "end"
        assert result[-1][1]["state"] == "done"
        assert result[-1][1]["report"]["added"] == 1
        hits = writer.post(f"{OWN}/search", json={"text": "grey heron"}).json()["hits"]
        assert Path(hits[0]["path"]).name == "heron.txt"
        gone = writer.delete(f"{OWN}/documents/{hits[0]['document_id']}")
        assert gone.json()["documents"] == 1
        assert not Path(hits[0]["path"]).exists()
        again = writer.post(f"{location}/resume")
        assert again.status_code == 409
        jobs = writer.get(f"{OWN}/jobs", params={"limit": 1}).json()
        assert jobs["items"][0]["kind"] == "ingest"


def test_an_idempotency_key_makes_one_of_two(served: Served) -> None:
    with served.client(served.keys["write"]) as writer:
        files = [("files", ("note.txt", b"The ferry leaves at six in the morning."))]
        headers = {"Idempotency-Key": "upload-1"}
        first = writer.post(f"{OWN}/uploads", files=files, headers=headers)
        second = writer.post(f"{OWN}/uploads", files=files, headers=headers)
        assert second.status_code == first.status_code == 202
        assert second.json() == first.json()
        assert second.headers["idempotency-replayed"] == "true"
        other = [("files", ("note.txt", b"Something else altogether."))]
        assert writer.post(f"{OWN}/uploads", files=other, headers=headers).status_code == 422
        assert wait_for(writer, first.headers["location"])["state"] == "done"


def test_collections_are_made_renamed_and_deleted(admin: httpx.Client) -> None:
    assert admin.post("/api/v1/collections", json={"name": "letters"}).status_code == 201
    assert admin.post("/api/v1/collections", json={"name": "letters"}).status_code == 409
    assert admin.post("/api/v1/collections", json={"name": "../up"}).status_code == 400
    renamed = admin.patch("/api/v1/collections/letters", json={"name": "post"})
    assert renamed.json()["name"] == "post"
    adapted = admin.patch("/api/v1/collections/post", json={"adapter": "none"})
    assert adapted.json()["adapter"] == "none"
    unknown = admin.patch("/api/v1/collections/post", json={"adapter": "nothing"})
    assert unknown.status_code == 400
    undone = admin.patch("/api/v1/collections/post", json={"adapter": "default"})
    assert undone.json()["adapter"] is None
    assert admin.delete("/api/v1/collections/post").json() == {"deleted": "post", "documents": 0}
    assert admin.get("/api/v1/collections/post").status_code == 404


@pytest.mark.full
def test_a_collection_chooses_an_adapter(answering: Served) -> None:
    with answering.client(answering.all["admin"]) as admin:
        admin.post("/api/v1/collections", json={"name": "adapted"}).raise_for_status()
        adapted = admin.patch("/api/v1/collections/adapted", json={"adapter": "grounded-qa-qwen"})
        assert adapted.json()["adapter"] == "grounded-qa-qwen"
        admin.delete("/api/v1/collections/adapted").raise_for_status()


def test_errors_are_problem_documents(reader: httpx.Client) -> None:
    wrong = reader.post(
        f"{OWN}/search", json={"text": "x", "limit": 1000}, headers={"X-Request-Id": "abc-1"}
    )
    assert wrong.status_code == 422
    assert wrong.headers["content-type"] == "application/problem+json"
    problem = wrong.json()
    assert problem["request_id"] == wrong.headers["x-request-id"] == "abc-1"
    assert problem["errors"][0]["where"] == "body.limit"
    for answer in (
        reader.get("/nowhere"),
        reader.put(f"{OWN}/search"),
        reader.post(f"{OWN}/search", content=b"{", headers={"content-type": "application/json"}),
        reader.post(f"{OWN}/search", json={}),
    ):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("size", [3 * 2**20, 4 * 2**20])
def test_what_is_too_large_is_refused(served: Served, size: int) -> None:
    with served.client(served.keys["write"]) as writer:
        files = [("files", ("big.txt", b"x" * size))]
        assert writer.post(f"{OWN}/uploads", files=files).status_code == 413


def test_health_and_metrics(served: Served, reader: httpx.Client, admin: httpx.Client) -> None:
    with served.client(None) as stranger:
        assert stranger.get("/healthz").json() == {"status": "ok"}
        assert stranger.get("/readyz").status_code == 503  # nothing was prepared in this test
        assert stranger.get("/metrics").status_code == 401
    job = served.library.jobs.start("ingest", "own", {}, lambda _progress, _cancel: {})
    served.library.jobs.wait(job)
    reader.post(f"{OWN}/search", json={"text": "table games"})
    assert reader.get("/metrics").status_code == 403, "figures are of all collections"
    figures = admin.get("/metrics").text
    assert re.search(r'ragcore_http_requests_total\{method="POST",route="[^"]*/search"', figures)
    assert "own" not in figures.replace("unknown", "")
    for figure in (
        'ragcore_work{kind="search",state="waiting"} 0.0',
        'ragcore_jobs{kind="ingest",state="done"}',
        "ragcore_stage_seconds_bucket{",
        "ragcore_memory_bytes ",
        "ragcore_model_bytes{",
    ):
        assert figure in figures, figure
