"""A connection to a Ray cluster, and an eye on its nodes."""

from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import dataclass

import ray

from ragcore.errors import RagcoreError

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds between two looks at the nodes

_lock = threading.Lock()
_users = 0  # ingests of this process that use its one connection
_ours = False  # whether it was made here, and not by the program that calls us


@dataclass(frozen=True, slots=True)
class Node:
    """`id` is Ray's own; `name` is its address, for people."""

    id: str
    name: str
    cpus: int
    gpus: int


class Cluster:
    """The cluster at `address` ("": the one this machine belongs to)."""

    def __init__(self, address: str = "") -> None:
        """Raises RagcoreError if no cluster answers there."""
        connect(address)
        self.nodes: dict[str, Node] = _alive()
        self._looked = time.monotonic()

    @property
    def cpus(self) -> int:
        return sum(node.cpus for node in self.nodes.values())

    def look(self) -> None:
        """See which nodes came and went; a line in the log for each."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        before, self.nodes = self.nodes, _alive()
        for gone in before.keys() - self.nodes.keys():
            log.warning(
                "Ray node %s is lost: what it worked on is done again by the other %d",
                before[gone].name,
                len(self.nodes),
            )
        for new in self.nodes.keys() - before.keys():
            log.warning("Ray node %s has joined: %d nodes", self.nodes[new].name, len(self.nodes))
        self._looked = time.monotonic()

    def close(self) -> None:
        disconnect()


def connect(address: str) -> None:
    """Join the cluster, unless another ingest of this process has done so."""
    global _users, _ours
    with _lock:
        if not ray.is_initialized():
            _reachable(address)
            try:
                ray.init(
                    address=address or "auto",
                    namespace="ragcore",
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
            except Exception as error:  # Ray raises many kinds, all of them meaning this
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
                raise RagcoreError(
                    f"no Ray cluster lets us in at {address or 'this machine'} ({reason}): start "
                    "one with `ray start`, or give its --address; one with token authentication "
                    "wants its RAY_AUTH_MODE and RAY_AUTH_TOKEN"
                ) from error
            _ours = True
        _users += 1


def _reachable(address: str) -> None:
    """Raises RagcoreError where nothing listens; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "://" in host:
        return  # a name of Ray's own, such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise RagcoreError(
            f"no Ray cluster answers at {address} ({error.strerror or error}): start one with "
            "`ray start --head`, or give the --address of another"
        ) from error


def disconnect() -> None:
    """Leave the cluster, once the last user of the connection is gone."""
    global _users, _ours
    with _lock:
        _users -= 1
        if _ours and not _users:
            ray.shutdown()
            _ours = False


def _alive() -> dict[str, Node]:
    """Nodes that can do work, by id."""
    found = {}
    for row in ray.nodes():  # type: ignore[no-untyped-call]
        has = row.get("Resources", {})
        node = Node(
            row["NodeID"],
            row["NodeManagerAddress"],
            int(has.get("CPU", 0)),
            int(has.get("GPU", 0)),
        )
        if row["Alive"] and (node.cpus or node.gpus):
            found[node.id] = node
    return found
