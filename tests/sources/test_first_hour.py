"""A new user's hour with sources, by commands: a web site of 200 pages, an S3 bucket, a WebDAV
share, a mailbox, a Git repository; ingested, changed, synced, searched, asked."""

from __future__ import annotations

import json
import mailbox
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragcore.cli.main import main
from tests.ingest.format_samples import message
from tests.web_site import Page, Site, web_site

from .test_git import git
from .test_mail import open_server

pytestmark = [pytest.mark.full, pytest.mark.starter_models]

SECRET = "pa55-w0rd-of-tests"
PAGES = 200
# Of each place: a question, and a word of its answer before and after the change.
TARIFF = "What does a day ticket for the reserve cost?"
PLAN = "When does the annual inspection of the crane take place?"
SHARE = "Who keeps the key of the boat house?"
MAIL = "Which berth is closed?"
LEAST_CITED = 4  # of the five
NOTES = "How deep is the outer basin?"


@pytest.fixture
def site() -> Iterator[Site]:
    with web_site() as opened:
        for number in range(PAGES):
            links = "".join(
                f"<a href='/page{n}'>page {n}</a> "
                for n in range(number * 10 + 1, number * 10 + 11)
                if n < PAGES
            )
            text = f"<p>The bird number {number} was ringed in spring on the northern island.</p>"
            opened.pages["/" if not number else f"/page{number}"] = web_page(
                f"Bird {number}", text, links
            )
        yield opened


def web_page(title: str, text: str, links: str = "") -> Page:
    return Page(f"<html><title>{title}</title><h1>{title}</h1>{text}{links}</html>".encode())


@pytest.fixture
def bucket() -> Iterator[Any]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    resource = boto3.resource(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    yield resource.create_bucket(Bucket="plans")
    server.stop()


@pytest.fixture
def share(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    folder = tmp_path / "shared"
    folder.mkdir()
    application = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {"user_mapping": {"*": {"ann": {"password": SECRET}}}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = wsgi.Server(("127.0.0.1", 0), application)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"webdav+http://127.0.0.1:{server.bind_addr[1]}", folder
    server.stop()
    thread.join()


class Terminal:
    """`ragcore ARGUMENTS --json` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Any:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        printed = self._capsys.readouterr()
        assert not ended.value.code, printed.err
        return json.loads(printed.out)


@pytest.mark.timeout(1800)
def test_an_hour_with_sources(
    site: Site,
    bucket: Any,
    share: tuple[str, Path],
    mail_place: tuple[str, Callable[[], None], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ragcore = Terminal(capsys)
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        "HOME": str(home), "PRIVATE_HOSTS": "127.0.0.1", "CRAWL_DELAY": "0", "OCR": "off",
        "PROFILE": "starter",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"RAGCORE_{name}", value)
    site.pages["/page7"] = web_page(
        "Tariff", "<p>A day ticket for the reserve costs nine guilders.</p>",
        "".join(f"<a href='/page{n}'>page {n}</a>" for n in range(71, 81)),
    )  # fmt: skip
    bucket.put_object(Key="2026/crane.txt", Body=b"The annual inspection of the crane is in May.")
    bucket.put_object(Key="2026/old.txt", Body=b"The old lighthouse was painted white.")
    address, shared = share
    (shared / "keys.md").write_text("# Keys\n\nMrs. Olsen keeps the key of the boat house.\n")
    repository = tmp_path / "notes"
    repository.mkdir()
    git(repository, "init", "-b", "main")
    (repository / "depths.md").write_text("# Depths\n\nThe outer basin is nine meters deep.\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "first")
    mail, change_mail, entry = mail_place
    credentials = home / "credentials.toml"
    credentials.write_text(
        f'["s3://plans"]\nkey = "test"\nsecret = "{SECRET}"\nregion = "us-east-1"\n'
        f'endpoint_url = "{bucket.meta.client.meta.endpoint_url}"\n'
        f'["{address}"]\nuser = "ann"\npassword = "{SECRET}"\n{entry}'
    )
    credentials.chmod(0o600)

    urls = [site.url, "s3://plans/2026", address, mail, f"git+file://{repository}"]
    for url in urls:
        crawl = ["--crawl"] if url == site.url else []
        ragcore("sources", "add", url, *crawl, "-c", "harbor", "--every", "6h")
    done = ragcore("sources", "sync")["sources"]
    assert [one["report"]["added"] for one in done] == [PAGES, 2, 1, 2, 1]
    assert not any(one["error"] or one["report"]["failed"] for one in done)
    expected = {
        TARIFF: (f"{site.url}/page7", "nine"),
        PLAN: ("s3://plans/2026/crane.txt", "may"),
        SHARE: (f"{address}/keys.md", "olsen"),
        MAIL: (mail, "4"),
        NOTES: (f"git+file://{repository}/depths.md", "nine"),
    }
    check(ragcore, expected)

    site.pages["/page7"] = web_page(
        "Tariff", "<p>A day ticket for the reserve costs ten guilders.</p>",
        "".join(f"<a href='/page{n}'>page {n}</a>" for n in range(71, 81)),
    )  # fmt: skip
    del site.pages[f"/page{PAGES - 1}"]
    bucket.put_object(Key="2026/crane.txt", Body=b"The annual inspection of the crane is in June.")
    bucket.Object("2026/old.txt").delete()
    (shared / "keys.md").write_text("# Keys\n\nMr. Jansen keeps the key of the boat house.\n")
    (repository / "depths.md").write_text("# Depths\n\nThe outer basin is twelve meters deep.\n")
    git(repository, "commit", "-am", "dredged")
    change_mail()
    done = ragcore("sources", "sync")["sources"]
    counts = [tuple(one["report"][n] for n in ("added", "updated", "removed")) for one in done]
    assert counts == [(0, 1, 1), (0, 1, 1), (0, 1, 0), (1, 0, 1), (0, 1, 0)]
    check(
        ragcore,
        {
            TARIFF: (f"{site.url}/page7", "ten"),
            PLAN: ("s3://plans/2026/crane.txt", "june"),
            SHARE: (f"{address}/keys.md", "jansen"),
            MAIL: (mail, "7"),
            NOTES: (f"git+file://{repository}/depths.md", "twelve"),
        },
    )
    again = ragcore("sources", "sync")["sources"]
    assert all(one["report"]["added"] + one["report"]["updated"] == 0 for one in again)


def check(ragcore: Terminal, expected: dict[str, tuple[str, str]]) -> None:
    """Each question finds its place first; answers cite the places that they are from."""
    cited = []
    for question, (path, word) in expected.items():
        hits = ragcore("search", question, "-c", "harbor", "--kind", "passages")["hits"]
        assert hits[0]["path"].startswith(path), question
        assert word in hits[0]["text"].lower(), question
        answer = ragcore("ask", question, "-c", "harbor")
        for one in answer["citations"]:
            shown = ragcore("documents", "show", str(one["document_id"]), "-c", "harbor")
            if shown["path"].startswith(path) and word in one["quote"].lower():
                cited.append(question)
                break
    # The small model of the starter profile abstains now and then.
    assert len(cited) >= LEAST_CITED, cited


@pytest.fixture
def mail_place(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None], str]]:
    """(address, what changes it, its credentials) of a mailbox: dovecot's, else a file."""
    closed = message("Berth 4 closed", "Berth 4 is closed because of the crane.\n")
    other = message("Berth 7 closed", "Berth 7 is closed because of the dredger.\n")
    pilots = message("Pilots", "Two pilots are ill this week.\n")
    if shutil.which("dovecot", path="/usr/sbin:/usr/bin"):
        with open_server() as server:
            server.add("INBOX", closed)
            server.add("INBOX", pilots)

            def change() -> None:
                client = server.client()
                client.select("INBOX")
                client.store("1", "+FLAGS", "\\Deleted")
                client.expunge()
                client.logout()
                server.add("INBOX", other)

            yield server.url, change, server.credentials_text()
        return
    box = mailbox.mbox(tmp_path / "mail.mbox")
    first = box.add(closed)
    box.add(pilots)
    box.flush()

    def change_file() -> None:
        box.remove(first)
        box.add(other)
        box.flush()

    yield f"mbox://{tmp_path}/mail.mbox", change_file, ""
