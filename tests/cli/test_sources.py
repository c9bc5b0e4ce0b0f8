"""`ragcore ingest https://…` against a local server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.web_site import Page, web_site

HOME = b"<html><title>Home</title><h1>Home</h1><p>Hello.</p><a href='/heron'>heron</a></html>"
HERON = b"<html><title>Heron</title><h1>Heron</h1><p>The grey heron stands in water.</p></html>"


def test_web_pages_are_ingested(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGCORE_OCR", "off")
    monkeypatch.setenv("RAGCORE_CRAWL_DELAY", "0")
    with web_site() as site:
        site.pages |= {"/": Page(HOME), "/heron": Page(HERON)}
        refused = run("ingest", site.url)
        assert refused.code == 1
        assert "private_hosts" in refused.err
        assert site.requests == []
        monkeypatch.setenv("RAGCORE_PRIVATE_HOSTS", "127.0.0.1")
        assert run("ingest", site.url, "--json").json["added"] == 1
        crawl = run("ingest", site.url, "--crawl", "--depth", "1", "--pages", "10", "--json")
        assert (crawl.json["added"], crawl.json["unchanged"]) == (1, 1)
        found = run("search", "heron", "--json").json
        assert found["hits"][0]["path"] == f"{site.url}/heron"
        wrong = run("ingest", site.url, "--depth", "1")
        assert (wrong.code, wrong.complaint) == (2, "depth and pages are for crawls: add --crawl")
        local = run("ingest", str(tmp_path), "--crawl")
        assert local.code == 2
        assert "'crawl'" in local.complaint


def test_sources_are_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAGCORE_OCR", "off")
    monkeypatch.setenv("RAGCORE_CRAWL_DELAY", "0")
    monkeypatch.setenv("RAGCORE_PRIVATE_HOSTS", "127.0.0.1")
    assert "no sources" in run("sources", "list").out
    assert run("watch").complaint.startswith("name a folder, or enter a source")
    with web_site() as site:
        site.pages |= {"/": Page(HOME), "/heron": Page(HERON)}
        made = run("sources", "add", site.url, "-c", "birds", "--crawl", "--every", "6h", "--json")
        assert (made.json["id"], made.json["every"]) == (1, 21600)
        assert run("sources", "add", site.url, "--every", "soon").code == 2
        done = run("sources", "sync", "--json").json["sources"][0]
        assert (done["report"]["added"], done["error"]) == (2, "")
        shown = run("sources", "list").out
        assert f"1  {site.url}  in birds" in shown
        assert "2 added" in shown
        assert "paused" in run("sources", "pause", "1").out
        assert run("sources", "sync", "--json").json["sources"] == []
        assert run("sources", "resume", "1", "--json").json["paused"] is False
        assert "with 2 documents" in run("sources", "remove", "1", "--documents").out
