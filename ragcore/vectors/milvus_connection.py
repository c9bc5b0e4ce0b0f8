"""A connection to Milvus: a server by its address, or Milvus Lite in a folder of this machine.

Every call is tried again, with growing pauses, while the server is away; what is left in the
end is one line. Nothing here knows of vectors.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ragcore.errors import RagcoreError, UsageError, VectorsUnavailable
from ragcore.extras import install_hint, require_extra
from ragcore.redaction import mask_url

log = logging.getLogger(__name__)

READ_TIMEOUT = 10.0  # seconds that a search waits for a server that is away
WRITE_TIMEOUT = 60.0  # a server that was killed is back within some ten seconds
_LEAST_CALL, _ONE_CALL = 5.0, 30.0  # seconds after which one attempt is given up
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts
_QUIET = 2.0  # seconds in which a server that is known to be away is not asked again
_NO_COLLECTION = 100  # Milvus's code; servers before 2.3 say 4
_REFUSALS = ("auth check failure", "unauthenticated", "permission_denied", "permission denied")

_lite_users: Counter[str] = Counter()
_lite_lock = threading.Lock()


class MissingCollectionError(RagcoreError):
    """A collection of Milvus that was there is gone."""


class MilvusConnection:
    """One per process and server; safe to share between threads. Connects when first used.

    `address` is a URI such as `http://host:19530/database`, or a path that ends in `.db`.
    Raises RagcoreError if pymilvus is not installed, VectorsUnavailable if nobody answers.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self.shown = mask_url(address)
        self.lite = "://" not in address
        self.losses = 0  # how often an answer failed to come: what was known may have changed
        self._token = token
        self._client: Any = None
        self._lock = threading.RLock()
        self._away: tuple[float, str] | None = None  # since when nobody waits for it, and why

    def read(self, name: str, *args: Any, **options: Any) -> Any:
        """Call the client's method `name`; a caller is waiting."""
        return self._call(READ_TIMEOUT, name, *args, **options)

    def write(self, name: str, *args: Any, **options: Any) -> Any:
        """As `read`, with a longer timeout. Only for what may be done twice."""
        return self._call(WRITE_TIMEOUT, name, *args, **options)

    def close(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            if self.lite:
                _leave_lite(self.address)

    # --- calling -------------------------------------------------------------

    def _call(self, timeout: float, name: str, *args: Any, **options: Any) -> Any:
        away = self._away
        if away is not None:  # one asks now and then; nobody waits
            timeout = 0.0
            if time.monotonic() - away[0] < _QUIET:
                raise self._unavailable(away[1])
            self._away = time.monotonic(), away[1]
        start, pause, failed = time.monotonic(), _FIRST_PAUSE, away is not None
        while True:
            left = timeout - (time.monotonic() - start)
            try:
                method = getattr(self._connected(), name)
                answer = method(*args, timeout=max(_LEAST_CALL, min(_ONE_CALL, left)), **options)
            except Exception as error:
                reason = self._reason(error)
                self.losses += 1
                if left < pause:
                    self._away = time.monotonic(), reason
                    raise self._unavailable(reason) from error
                if not failed:
                    log.warning(
                        "Milvus at %s does not answer (%s); trying for %.0f seconds",
                        *(self.shown, reason, timeout),
                    )
                failed = True
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            self._away = None
            if failed:
                log.warning("Milvus at %s answers again", self.shown)
            return answer

    def _unavailable(self, reason: str) -> VectorsUnavailable:
        return VectorsUnavailable(
            f"Milvus at {self.shown} does not answer: {reason}; nothing is lost, try again "
            "when it is back"
        )

    def _reason(self, error: Exception) -> str:
        """One line about a failure. Raises what no retry can fix."""
        import grpc
        from pymilvus.exceptions import MilvusException, ParamError

        if not isinstance(error, grpc.RpcError | MilvusException) or isinstance(error, ParamError):
            raise error
        if isinstance(error, MilvusException) and error.code == _NO_COLLECTION:
            raise MissingCollectionError(_one_line(error.message)) from error
        causes = [error]
        if error.__cause__ is not None and error.__cause__ is not error:
            causes.append(error.__cause__)
        messages = [_one_line(_message(cause)) for cause in causes]
        if any(words in line.lower() for line in messages for words in _REFUSALS):
            raise UsageError(
                f"Milvus at {self.shown} lets nobody in with this token: set `vectors_token` "
                "to user:password or an API key"
            ) from error
        return messages[0]

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        require_extra("milvus", "vectors in Milvus")
        from pymilvus import MilvusClient

        # Every failure is logged once, here.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        uri = _enter_lite(self.address) if self.lite else self.address
        try:
            return MilvusClient(uri, token=self._token, timeout=5)
        except Exception:
            if self.lite:
                _leave_lite(self.address)
            raise


def _message(error: BaseException) -> str:
    import grpc

    if isinstance(error, grpc.RpcError):
        return f"{error.code().name}: {error.details()}"
    message = str(getattr(error, "message", error))
    return "no connection" if message.startswith("Fail connecting") else message


def _one_line(text: object) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= 200 else f"{words[:200]}…"


def _enter_lite(path: str) -> str:
    """Start Milvus Lite on a folder, or join it where this process has started it."""
    try:
        from milvus_lite.server_manager import server_manager_instance
    except ImportError:
        raise RagcoreError(
            f"vectors in a folder of Milvus Lite need it: {install_hint('milvus')} (there is "
            "none for Windows: use a server)"
        ) from None
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _lite_lock:
        uri = server_manager_instance.start_and_get_uri(path)
        if uri is None:
            raise RagcoreError(
                f"Milvus Lite cannot open {path}: another process has it open (it serves one at "
                "a time, a Milvus server serves many), or it is damaged"
            )
        _lite_users[path] += 1
    return str(uri)


def _leave_lite(path: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    with _lite_lock:
        _lite_users[path] -= 1
        if not _lite_users[path]:
            server_manager_instance.release_server(path)
