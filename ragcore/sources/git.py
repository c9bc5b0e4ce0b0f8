"""Files of Git repositories at their newest commit: of this computer, and of servers by https.

Only objects are read: no file is checked out, no hook runs, and no other repository (a submodule,
or a transport of another kind) is opened.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from ragcore.errors import RagcoreError, UnreadableFile, UsageError
from ragcore.extras import require_extra
from ragcore.files import private_folder
from ragcore.net import AddressPolicy, GuardedTransport, parse_url
from ragcore.settings import Settings
from ragcore.sources.contract import Skipped, Source, SourceContext, SourceItem
from ragcore.sources.copies import write_limited
from ragcore.sources.credentials import credentials
from ragcore.sources.local import passed_over

if TYPE_CHECKING:
    from dulwich.repo import Repo

_CONNECT, _READ = 10.0, 60.0
_MOST_BYTES = 2 << 30  # of one answer of a server
_TREE, _LINK, _SUBMODULE = 0o040000, 0o120000, 0o160000


def git_file(url: str, context: SourceContext) -> Source:
    """`git+file:///PATH`, a repository of this computer or a folder in one; option `ref`."""
    require_extra("remote", "Git repositories")
    context.check_options("ref")
    path = Path(url.partition("://")[2].rstrip("/"))
    repository = next((one for one in (path, *path.parents) if _is_repository(one)), None)
    if not path.is_absolute() or ".." in path.parts or repository is None:
        raise UsageError(f"{url} leads to no repository: write git+file:///path/to/repository")

    def opened(wanted: bytes) -> tuple[Repo, bytes]:
        from dulwich.repo import Repo

        found = Repo(str(repository))
        return found, _commit(found.get_refs(), wanted, f"git+file://{repository}")

    inner = path.relative_to(repository).as_posix()
    root = f"git+file://{repository}"
    return GitFiles(root, "" if inner == "." else inner, opened, context.options.get("ref", ""))


def git_https(url: str, context: SourceContext) -> Source:
    """`git+https://HOST/PATH.git`, or a folder in it: `git+https://HOST/PATH.git/FOLDER`.

    Option `ref`. Credentials: `user` and `password`, or `token`.
    """
    require_extra("remote", "Git repositories")
    context.check_options("ref")
    address = str(parse_url(url.partition("+")[2]))  # checked as every address is
    before, mark, inner = address.partition(".git")
    if not mark or (inner and not inner.startswith("/")):
        raise UsageError(f"{url} names no repository: write git+https://HOST/PATH.git")
    remote = before + mark
    settings = context.settings

    def opened(wanted: bytes) -> tuple[Repo, bytes]:
        return _fetched(remote, wanted, settings)

    return GitFiles(f"git+{remote}", inner.strip("/"), opened, context.options.get("ref", ""))


class GitFiles:
    """The files of one commit, at or below one path of it."""

    def __init__(
        self, root: str, path: str, opened: Callable[[bytes], tuple[Repo, bytes]], ref: str
    ) -> None:
        """Take the files of one commit below `path`.

        `opened` makes the repository and the number of the commit that `ref` (a branch or tag;
        "": what HEAD is) means.
        """
        self._root, self._path, self._ref = root, path, ref
        self._opened = opened
        self._lock = threading.Lock()
        self._files: dict[str, bytes] | None = None  # numbers of contents by location
        self._repository: Any = None

    @property
    def location(self) -> str:
        return f"{self._root}/{self._path}".rstrip("/")

    def list(self) -> Iterator[SourceItem | Skipped]:
        with self._lock:
            found = list(self._listed())
        if not found:
            raise UsageError(f"there is nothing at {self.location}")
        yield from found

    def fetch(self, item: SourceItem, folder: Path, *, most_bytes: int) -> Path:
        with self._lock:
            if self._files is None or item.location not in self._files:
                for _ in self._listed():
                    pass
            number = (self._files or {}).get(item.location)
            if number is None:
                raise UnreadableFile("it is not in the newest commit any more")
            try:
                blob = self._repository[number]
            except KeyError as error:
                raise UnreadableFile("its content is not in the repository") from error
            data = blob.as_raw_string()
        return write_limited([data], folder / "content", most_bytes)

    def _listed(self) -> Iterator[SourceItem | Skipped]:
        self._repository, commit = self._opened(self._ref.encode())
        self._files = {}
        head = self._repository[commit]
        when = max(0, int(head.commit_time)) * 10**9
        for path, mode, number in self._walk(head.tree):
            location = f"{self._root}/{path}"
            if location != self.location and not location.startswith(f"{self.location}/"):
                continue
            name = path.rpartition("/")[2]
            if mode == _SUBMODULE:
                yield Skipped(location, "a submodule: add its repository as a source of its own")
            elif mode == _LINK:
                yield Skipped(location, "a link", "link")
            elif not passed_over(name):
                self._files[location] = number
                yield SourceItem(location, name, None, when, number.decode())

    def _walk(self, tree: bytes) -> Iterator[tuple[str, int, bytes]]:
        """(path, mode, number) of all that a tree holds; hidden folders are passed over."""
        waiting = [("", tree)]
        while waiting:
            base, number = waiting.pop()
            for raw, mode, inner in self._repository[number].items():
                name = raw.decode("utf-8", "replace")
                path = f"{base}/{name}" if base else name
                if mode != _TREE:
                    yield path, mode, inner
                elif not name.startswith(".") and path.count("/") < 200:
                    waiting.append((path, inner))


def _is_repository(path: Path) -> bool:
    return (path / ".git" / "HEAD").is_file() or (
        (path / "HEAD").is_file() and (path / "objects").is_dir()
    )


def _commit(refs: Any, wanted: bytes, where: str) -> bytes:
    """The number of a commit by a branch's or tag's name; of HEAD for none."""
    names = [b"refs/heads/" + wanted, b"refs/tags/" + wanted] if wanted else [b"HEAD"]
    for name in names:
        if number := refs.get(name):
            return bytes(number)
    shown = wanted.decode() or "commit"
    raise UsageError(f"there is no {shown} in {where}")


# --- servers -------------------------------------------------------------------------------


def _fetched(remote: str, wanted: bytes, settings: Settings) -> tuple[Repo, bytes]:
    """A copy of a server's repository in the home folder, with its newest commit.

    Only that commit is fetched, and only if it is not there yet.
    """
    from dulwich.errors import GitProtocolError, HangupException, NotGitRepository
    from dulwich.repo import Repo

    folder = settings.home / "git" / hashlib.sha256(remote.encode()).hexdigest()[:32]
    if not (folder / "HEAD").is_file():
        private_folder(folder)
        Repo.init_bare(str(folder))
    copy = Repo(str(folder))
    known: Any = copy.object_store
    chosen: list[bytes] = []

    def choose(refs: Any, depth: int | None = None) -> list[bytes]:
        number = _commit(refs, wanted, f"git+{remote}")
        chosen.append(number)
        return [] if number in known else [number]

    with httpx.Client(
        transport=GuardedTransport(AddressPolicy(settings.private_hosts)),
        timeout=httpx.Timeout(_READ, connect=_CONNECT),
        trust_env=False,
    ) as client:
        try:
            _git_client(remote, client, settings).fetch(
                remote.encode(), copy, determine_wants=choose, depth=1
            )
        except (GitProtocolError, HangupException, NotGitRepository, httpx.HTTPError) as error:
            raise RagcoreError(f"git+{remote} cannot be fetched: {error}") from None
    if not chosen:
        raise UsageError(f"git+{remote} is empty")
    return copy, chosen[-1]


def _git_client(remote: str, client: httpx.Client, settings: Settings) -> Any:
    """Git's protocol over connections that are guarded like all others."""
    from dulwich.client import AbstractHttpGitClient
    from dulwich.errors import GitProtocolError, NotGitRepository

    given = credentials(f"git+{remote}", settings) or credentials(remote, settings)
    own: dict[str, str] = {}
    if "user" in given or "token" in given:
        pair = f"{given.get('user', 'git')}:{given.get('password') or given.get('token', '')}"
        own["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    class Guarded(AbstractHttpGitClient):
        def _http_request(
            self,
            url: str,
            headers: dict[str, str] | None = None,
            data: Any = None,
            raise_for_status: bool = True,
        ) -> Any:
            request = client.build_request(
                "GET" if data is None else "POST",
                url,
                headers={**(headers or {}), **own},
                content=data,
            )
            answer = client.send(request, stream=True)
            if answer.is_redirect:
                to = answer.headers.get("Location", "")
                answer.close()
                raise GitProtocolError(f"the server leads to {to}: enter that address")
            if raise_for_status and answer.status_code == httpx.codes.NOT_FOUND:
                answer.close()
                raise NotGitRepository("there is no repository")
            if raise_for_status and answer.status_code != httpx.codes.OK:
                answer.close()
                raise GitProtocolError(f"the server answers {answer.status_code}")
            found = _Answer(answer)
            return found, found.read

    return Guarded(remote, quiet=True)


class _Answer:
    """What dulwich asks an answer for."""

    redirect_location = None

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self._blocks = answer.iter_bytes()
        self._rest = b""
        self._size = 0
        self.status = answer.status_code
        self.headers = answer.headers
        self.content_type = answer.headers.get("Content-Type")

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; b"" at the end."""
        parts, have = [self._rest], len(self._rest)
        while size < 0 or have < size:
            block = next(self._blocks, b"")
            if not block:
                break
            self._size += len(block)
            if self._size > _MOST_BYTES:
                raise RagcoreError(f"the repository has more than {_MOST_BYTES >> 30} GiB")
            parts.append(block)
            have += len(block)
        joined = b"".join(parts)
        end = len(joined) if size < 0 else size
        self._rest = joined[end:]
        return joined[:end]

    def close(self) -> None:
        self._answer.close()
