"""The schemes of remote files: how each one's file system is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from ragcore.errors import UsageError
from ragcore.extras import require_extra
from ragcore.net import AddressPolicy, GuardedTransport, guarded_socket
from ragcore.sources.contract import Source, SourceContext
from ragcore.sources.credentials import credentials
from ragcore.sources.remote_files import RemoteFiles, need, split

_CONNECT = 10.0  # seconds
_READ = 30.0
# Instances of fsspec are shared by their arguments otherwise, with the credentials in them.
_OWN: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}


def s3(url: str, context: SourceContext) -> Source:
    """`s3://BUCKET/PREFIX`. Credentials: those of the file, else as boto finds them."""
    need("s3fs", "s3fs", "objects in S3")
    context.check_options()
    bucket, path = split(url)

    def connect() -> Any:
        import s3fs

        given = credentials(url, context.settings)
        client = {"region_name": given.pop("region")} if "region" in given else {}
        limits = {
            "connect_timeout": _CONNECT,
            "read_timeout": _READ,
            "retries": {"max_attempts": 3},
        }
        return s3fs.S3FileSystem(client_kwargs=client, config_kwargs=limits, **given, **_OWN)

    return RemoteFiles("s3", "", bucket + path, connect, flat=True)


def gs(url: str, context: SourceContext) -> Source:
    """`gs://BUCKET/PREFIX`. Credentials: those of the file, else as Google's library finds them."""
    need("gcsfs", "gcsfs", "objects in Google Cloud Storage")
    return _by_protocol("gs", url, context)


def az(url: str, context: SourceContext) -> Source:
    """`az://CONTAINER/PREFIX`. Credentials: the file's, else AZURE_STORAGE_… of the environment."""
    need("adlfs", "adlfs", "objects in Azure")
    return _by_protocol("az", url, context)


def _by_protocol(scheme: str, url: str, context: SourceContext) -> Source:
    context.check_options()
    bucket, path = split(url)

    def connect() -> Any:
        import fsspec

        return fsspec.filesystem(scheme, **credentials(url, context.settings), **_OWN)

    return RemoteFiles(scheme, "", bucket + path, connect, flat=True)


def webdav(url: str, context: SourceContext) -> Source:
    """`webdav://HOST/PATH` over https, `webdav+http://HOST/PATH` in the clear."""
    need("webdav4", "webdav4", "files of WebDAV servers")
    context.check_options()
    scheme = url.partition("://")[0].lower()
    host, path = split(url)
    base = f"{'http' if scheme.endswith('+http') else 'https'}://{host}"

    def connect() -> Any:
        import httpx
        from webdav4.client import Client
        from webdav4.fsspec import WebdavFileSystem

        class Quoted(Client):  # type: ignore[misc]
            """It takes names with `#`, `?` and `%` as they are."""

            def join_url(self, path: str, add_trailing_slash: bool = False) -> httpx.URL:
                joined: httpx.URL = super().join_url(quote(path), add_trailing_slash)
                return joined

        given = credentials(url, context.settings)
        auth = (given["user"], given.get("password", "")) if "user" in given else None
        client = Quoted(
            base,
            auth=auth,
            transport=GuardedTransport(AddressPolicy(context.settings.private_hosts)),
            trust_env=False,
            timeout=httpx.Timeout(_READ, connect=_CONNECT),
        )
        return WebdavFileSystem(base, client=client)

    return RemoteFiles(scheme, host, path, connect)


def sftp(url: str, context: SourceContext) -> Source:
    """`sftp://HOST[:PORT]/PATH`.

    The host's key must be known: in ~/.ssh/known_hosts, or as `host_key` in the credentials.
    """
    need("paramiko", "paramiko", "files of SSH servers")
    context.check_options()
    host, path = split(url)
    name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UsageError(f"{url} has a port that cannot be")

    def connect() -> Any:
        from ragcore.sources.sftp import connected

        given = credentials(url, context.settings)
        policy = AddressPolicy(context.settings.private_hosts)
        number = int(port or 22)
        return connected(
            name,
            number,
            given,
            sock=guarded_socket(policy, name, number, seconds=_CONNECT),
        )

    return RemoteFiles("sftp", host, path, connect, one_at_a_time=True)


def github(url: str, context: SourceContext) -> Source:
    """`github://OWNER/REPOSITORY/PATH`, of the default branch or the option `ref`.

    Credentials: `user` and `token`.
    """
    need("requests", "requests", "repositories of GitHub")
    context.check_options("ref")
    owner, path = split(url)
    repository, _, inner = path.strip("/").partition("/")
    if not repository:
        raise UsageError(f"{url} names no repository: write github://OWNER/REPOSITORY")

    def connect() -> Any:
        from fsspec.implementations.github import GithubFileSystem

        given = credentials(url, context.settings)
        return GithubFileSystem(
            owner,
            repository,
            sha=context.options.get("ref", "HEAD"),
            username=given.get("user"),
            token=given.get("token"),
            timeout=(_CONNECT, _READ),
            **_OWN,
        )

    return RemoteFiles("github", f"{owner}/{repository}/", inner, connect)


def zip_archive(url: str, context: SourceContext) -> Source:
    """`zip:///PATH/ARCHIVE.zip`, or a folder or file in it: `zip:///PATH/ARCHIVE.zip/FOLDER`."""
    require_extra("remote", "archives as sources")
    context.check_options()
    path = Path(url.partition("://")[2].rstrip("/"))
    archive = next((one for one in (path, *path.parents) if one.is_file()), None)
    if not path.is_absolute() or archive is None:
        raise UsageError(f"{url} leads to no archive: write zip:///path/to/archive.zip")

    def connect() -> Any:
        import zipfile

        from fsspec.implementations.zip import ZipFileSystem

        try:
            return ZipFileSystem(str(archive))
        except zipfile.BadZipFile:
            raise UsageError(f"{archive} is no zip archive, or is damaged") from None

    inner = path.relative_to(archive).as_posix()
    return RemoteFiles("zip", f"{archive}/", "" if inner == "." else inner, connect, flat=True)
