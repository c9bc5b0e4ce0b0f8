"""Files of S3, WebDAV and SSH servers that the tests start, and of archives."""

from __future__ import annotations

import asyncio
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ragcore.errors import MissingExtra, RagcoreError, UsageError
from ragcore.library import Library
from ragcore.settings import Settings
from ragcore.sources import Skipped, Source, SourceItem, open_source
from ragcore.sources.remote_files import RemoteFiles
from ragcore.testing import SourceConformance
from tests.ingest.ingest_samples import outcome

FILES = {
    "heron.txt": b"The grey heron stands in shallow water.\n",
    "food/bread.md": b"# Bread\n\nMix flour, water, salt and yeast.\n",
    "food/deep/rent & more #1.txt": "Die Miete beträgt 840 Euro.\n".encode(),
    ".hidden/secret.txt": b"Not to be read.\n",
}
SEEN = {name for name in FILES if not name.startswith(".")}
PASSWORD = "pa55-w0rd-of-tests"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home=home, workers=1, ocr="off", private_hosts=["127.0.0.1"])


def trust(settings: Settings, url: str, **values: str) -> None:
    """Write the credentials file."""
    lines = [f'["{url}"]', *(f'{name} = "{value}"' for name, value in values.items())]
    file = settings.home / "credentials.toml"
    file.write_text("\n".join(lines) + "\n")
    file.chmod(0o600)


def listed(source: Source) -> dict[str, SourceItem]:
    root = source.location
    return {
        one.location.removeprefix(root).lstrip("/"): one
        for one in source.list()
        if isinstance(one, SourceItem)
    }


class Conformance(SourceConformance):
    """With the fixture `place`, the URL of a folder with FILES in it."""

    @pytest.fixture
    def url(self, place: str) -> str:
        return place

    @pytest.fixture
    def open(self, settings: Settings) -> Callable[[str], Source]:
        return lambda url: open_source(url, settings)

    def test_all_but_hidden_files_are_listed(self, source: Source) -> None:
        found = listed(source)
        assert set(found) == SEEN
        assert {name: one.size for name, one in found.items()} == {
            name: len(FILES[name]) for name in SEEN
        }
        assert all(one.version or one.modified_ns for one in found.values())


# --- S3 --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, settings: Settings) -> Any:
    import boto3

    resource = boto3.resource(
        "s3",
        endpoint_url=s3_server,
        aws_access_key_id="test",
        aws_secret_access_key=PASSWORD,
        region_name="us-east-1",
    )
    trust(
        settings,
        "s3://papers",
        key="test",
        secret=PASSWORD,
        endpoint_url=s3_server,
        region="us-east-1",
    )
    made = resource.create_bucket(Bucket="papers")
    for name, content in FILES.items():
        made.put_object(Key=f"team/{name}", Body=content)
    made.put_object(Key="team/empty/", Body=b"")
    made.put_object(Key="teams.txt", Body=b"Beside the folder, not in it.")
    yield made
    made.objects.all().delete()
    made.delete()


class TestS3(Conformance):
    @pytest.fixture
    def place(self, bucket: Any) -> str:
        return "s3://papers/team"


def test_a_bucket_is_kept_in_step(bucket: Any, settings: Settings) -> None:
    place = "s3://papers/team"
    with Library(settings) as library:
        assert outcome(library.ingest([place])) == (3, 0, 0, 0, 0, 0)
        hit = library.search("grey heron", kind="passages", cutoff=0.0).hits[0]
        assert hit.path == f"{place}/heron.txt"
        assert outcome(library.ingest([place], sync=True)) == (0, 0, 3, 0, 0, 0)
        bucket.put_object(Key="team/heron.txt", Body=b"The heron has flown away.\n")
        bucket.put_object(Key="team/new.txt", Body=b"A kingfisher came.\n")
        bucket.Object("team/food/bread.md").delete()
        assert outcome(library.ingest([place], sync=True)) == (1, 1, 1, 0, 1, 0)
        rows = library.documents.list()[0]
        assert {row.path for row in rows} == {
            f"{place}/heron.txt",
            f"{place}/new.txt",
            f"{place}/food/deep/rent & more #1.txt",
        }
        with library.documents.original(rows[0].id) as path:
            assert (
                path.read_bytes()
                == bucket.Object(rows[0].path.removeprefix("s3://papers/")).get()["Body"].read()
            )
    written = [path for path in settings.home.rglob("*") if path.is_file()]
    leaks = [one.name for one in written if PASSWORD.encode() in one.read_bytes()]
    assert leaks == ["credentials.toml"]


def test_a_large_object_is_not_fetched(bucket: Any, settings: Settings) -> None:
    bucket.put_object(Key="team/large.txt", Body=b"x" * (2 << 20))
    small = settings.model_copy(update={"max_file_mb": 1})
    with Library(small) as library:
        report = library.ingest(["s3://papers/team"])
    assert [one.path for one in report.failed] == ["s3://papers/team/large.txt"]
    assert "max_file_mb" in report.failed[0].error


def test_a_bucket_that_cannot_be_listed_loses_nothing(bucket: Any, settings: Settings) -> None:
    with Library(settings) as library:
        library.ingest(["s3://papers/team"])
        trust(settings, "s3://papers", key="test", secret="x", endpoint_url="http://127.0.0.1:9")
        report = library.ingest(["s3://papers/team"], sync=True)
        assert (report.removed, len(report.failed)) == (0, 1)
        assert len(library.documents.list()[0]) == 3


# --- WebDAV ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    for name, content in FILES.items():
        (folder / "team" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "team" / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def webdav_server(shared: Path) -> Iterator[str]:
    from cheroot import wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    application = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(shared)},
            "simple_dc": {"user_mapping": {"*": {"ann": {"password": PASSWORD}}}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = wsgi.Server(("127.0.0.1", 0), application)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield f"webdav+http://127.0.0.1:{server.bind_addr[1]}"
    server.stop()
    thread.join()


class TestWebdav(Conformance):
    @pytest.fixture
    def place(self, webdav_server: str, settings: Settings) -> str:
        trust(settings, webdav_server, user="ann", password=PASSWORD)
        return f"{webdav_server}/team"


def test_a_share_is_kept_in_step(webdav_server: str, shared: Path, settings: Settings) -> None:
    trust(settings, webdav_server, user="ann", password=PASSWORD)
    (shared / "own").mkdir()
    heron = shared / "own" / "heron.txt"
    heron.write_text("The heron stands.")
    (shared / "own" / "bread.txt").write_text("The bread rises.")
    place = f"{webdav_server}/own"
    with Library(settings) as library:
        assert outcome(library.ingest([place])) == (2, 0, 0, 0, 0, 0)
        heron.write_text("The heron has flown away.")
        (shared / "own" / "bread.txt").unlink()
        assert outcome(library.ingest([place], sync=True)) == (0, 1, 0, 0, 1, 0)
        trust(settings, webdav_server, user="ann", password="wrong")
        report = library.ingest([place], sync=True)
        assert (report.removed, len(report.failed)) == (0, 1)


def test_a_server_that_is_not_public_is_refused(
    webdav_server: str, sftp_server: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    for place in (f"{webdav_server}/team", f"{sftp_server}/team"):
        with pytest.raises(RagcoreError, match="private_hosts"):
            list(open_source(place, settings).list())


# --- SSH ---------------------------------------------------------------------------------


class _Keys:
    host = ""


@pytest.fixture(scope="module")
def sftp_server(shared: Path) -> Iterator[str]:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    _Keys.host = key.export_public_key().decode().strip()

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("ann", PASSWORD)

    def files(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(shared).encode())

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=files
        )

    listening = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    yield f"sftp://127.0.0.1:{listening.get_port()}"

    async def close() -> None:
        listening.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run_coroutine_threadsafe(close(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


class TestSftp(Conformance):
    @pytest.fixture
    def place(self, sftp_server: str, settings: Settings) -> str:
        trust(settings, sftp_server, user="ann", password=PASSWORD, host_key=_Keys.host)
        return f"{sftp_server}/team"


def test_a_host_key_that_is_not_known_is_refused(sftp_server: str, settings: Settings) -> None:
    place = f"{sftp_server}/team"
    trust(settings, sftp_server, user="ann", password=PASSWORD)
    with pytest.raises(UsageError, match=r"key of 127\.0\.0\.1 is not known"):
        list(open_source(place, settings).list())
    trust(settings, sftp_server, user="ann", password=PASSWORD, host_key="ssh-ed25519 nonsense")
    with pytest.raises(UsageError, match="host_key"):
        list(open_source(place, settings).list())
    trust(settings, sftp_server, user="ann", password="wrong", host_key=_Keys.host)
    with pytest.raises(RagcoreError, match="does not accept the credentials"):
        list(open_source(place, settings).list())


# --- archives, memory, URLs ----------------------------------------------------------------


class TestZip(Conformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        with zipfile.ZipFile(tmp_path / "team.zip", "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
        return f"zip://{tmp_path}/team.zip"


class TestMemory(SourceConformance):
    # fsspec's files in memory share one position between threads: not for several at once.
    test_several_are_fetched_at_once = None  # type: ignore[assignment]

    @pytest.fixture
    def url(self) -> Iterator[str]:
        import fsspec

        system = fsspec.filesystem("memory")
        system.pipe({f"/team/{name}": content for name, content in FILES.items()})
        yield "memory:///team"
        system.rm("/team", recursive=True)

    @pytest.fixture
    def open(self) -> Callable[[str], Source]:
        import fsspec

        def opened(url: str) -> Source:
            path = url.removeprefix("memory://")
            return RemoteFiles("memory", "", path, lambda: fsspec.filesystem("memory"))

        return opened


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///papers",
        "sftp://ann:secret-word@host/x",
        "webdav://host/a/../b",
        "sftp://host:0/x",
        "github://owner",
        "zip://relative.zip",
        "zip:///no/such.zip",
    ],
)
def test_wrong_urls_are_refused(url: str, settings: Settings) -> None:
    with pytest.raises(UsageError) as error:
        open_source(url, settings)
    assert "secret-word" not in str(error.value)


def test_what_is_missing_is_named(settings: Settings) -> None:
    for scheme, package in (("gs", "gcsfs"), ("az", "adlfs")):
        with pytest.raises(MissingExtra, match=f"pip install {package}"):
            open_source(f"{scheme}://bucket/x", settings)


def test_credentials_that_lead_nowhere_are_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    from ragcore.sources.credentials import credentials

    class Ring(KeyringBackend):  # type: ignore[misc]
        priority = 1.0

        def get_password(self, service: str, username: str) -> str | None:
            return PASSWORD if (service, username) == ("share", "ann") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        trust(settings, "s3://b", key="keyring:share/ann")
        assert credentials("s3://b/x", settings) == {"key": PASSWORD}
        assert credentials("s3://bb", settings) == {}
        trust(settings, "s3://b", key="keyring:share/bob")
        with pytest.raises(UsageError, match="no password of 'bob'"):
            credentials("s3://b", settings)
    finally:
        keyring.set_keyring(before)
    monkeypatch.delenv("NO_SUCH", raising=False)
    for value, message in (("env:NO_SUCH", "NO_SUCH is not set"), ("file:/no/such", "be read")):
        trust(settings, "s3://b", key=value)
        with pytest.raises(UsageError, match=message):
            credentials("s3://b", settings)


def test_a_folder_that_cannot_be_listed_is_one_failure(settings: Settings) -> None:
    import fsspec

    class Closed(fsspec.get_filesystem_class("memory")):  # type: ignore[misc]
        cachable = False

        def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
            if path.endswith("closed"):
                raise PermissionError(13, "Permission denied")
            return super().ls(path, detail, **kwargs)

    system = Closed()
    system.pipe({"/club/open/a.txt": b"a", "/club/closed/b.txt": b"b"})
    found = list(RemoteFiles("memory", "", "/club", lambda: system).list())
    assert [(one.location, one.kind) for one in found if isinstance(one, Skipped)] == [
        ("memory:///club/closed", "failed")
    ]
    assert [one.location for one in found if isinstance(one, SourceItem)] == [
        "memory:///club/open/a.txt"
    ]
