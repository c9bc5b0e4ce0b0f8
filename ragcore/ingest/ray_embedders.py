"""Embedding actors of a Ray cluster: one a GPU, or one a node where there are none.

What a lost actor was working on goes to another one; nodes that join get actors of their own.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ragcore import __version__
from ragcore.errors import RagcoreError
from ragcore.ingest.embed import Vectors
from ragcore.ingest.ray_cluster import Cluster, Node
from ragcore.ingest.ray_nodes import EmbeddingActor, Opened
from ragcore.ingest.worker import ReadResult

log = logging.getLogger(__name__)

_AHEAD = 2  # batches that one actor has: one at work, one waiting
_MOST_ATTEMPTS = 5  # of one batch, and of starting the first actor
_SAY_AFTER = 30.0  # seconds without an actor after which the log says so

Batch = Sequence[ReadResult]


@dataclass(slots=True)
class _Actor:
    handle: Any
    node: Node
    load: int = 0


@dataclass(slots=True)
class _EmbeddingTask:
    batch: Batch
    attempts: int = 0
    actor: _Actor | None = field(default=None, repr=False)


class Embedders:
    """Takes batches, gives vectors; used by one thread."""

    def __init__(self, cluster: Cluster, settings: Mapping[str, Any]) -> None:
        """`settings` as `EmbeddingActor` takes them."""
        self._cluster = cluster
        self._settings = dict(settings)
        self._use_gpus = settings.get("device") != "cpu"
        self._starting: dict[Any, _Actor] = {}
        self._ready: list[_Actor] = []
        self._flying: dict[Any, _EmbeddingTask] = {}
        self._waiting: deque[_EmbeddingTask] = deque()
        self._lost_starting = 0
        self._without = time.monotonic()
        self.opened: Opened | None = None  # what the first actor said

    @property
    def working(self) -> bool:
        return bool(self._flying or self._waiting)

    @property
    def full(self) -> bool:
        """Whether another batch would only wait."""
        return bool(self._waiting)

    def put(self, batch: Batch) -> None:
        self._waiting.append(_EmbeddingTask(batch))

    def step(self, seconds: float) -> Iterator[tuple[Batch, list[Vectors]]]:
        """Hand out, wait up to `seconds` for something to be done, and yield what is.

        Raises RagcoreError where going on has no sense: models missing on a node, another
        version of ragcore there, a batch that ends every actor.
        """
        self._cluster.look()
        self._start_missing()
        self._hand_out()
        refs = [*self._starting, *self._flying]
        if not refs:
            time.sleep(seconds)
            return
        done, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        for ref in done:
            if ref in self._starting:
                self._opened(ref)
            elif (work := self._flying.pop(ref, None)) is not None:
                vectors = self._result(ref, work)
                if vectors is not None:
                    yield work.batch, vectors

    def close(self) -> None:
        for actor in (*self._ready, *self._starting.values()):
            ray.kill(actor.handle)
        self._ready, self._starting, self._flying = [], {}, {}

    def _start_missing(self) -> None:
        nodes = list(self._cluster.nodes.values())
        gpus = self._use_gpus and any(node.gpus for node in nodes)
        for node in nodes:
            wanted = node.gpus if gpus else 1
            have = sum(a.node.id == node.id for a in (*self._ready, *self._starting.values()))
            for _ in range(wanted - have):
                self._start(node, gpus)
        if self._ready or time.monotonic() - self._without < _SAY_AFTER:
            return
        log.warning(
            "no embedding actor is up yet: %d nodes, %d actors waiting for their place",
            len(nodes),
            len(self._starting),
        )
        self._without = time.monotonic()

    def _start(self, node: Node, gpu: bool) -> None:
        fields = dict(self._settings)
        if gpu:
            fields["device"] = "cuda"  # an actor that has a GPU and cannot use it says so
        elif not fields.get("threads"):
            fields["threads"] = node.cpus
        actor: Any = ray.remote(EmbeddingActor)
        handle = actor.options(
            num_cpus=0,  # as at home, readers and encoders share the processor
            num_gpus=int(gpu),
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        ).remote(fields)
        self._starting[handle.open.remote()] = _Actor(handle, node)

    def _opened(self, ref: Any) -> None:
        actor = self._starting.pop(ref)
        try:
            opened: Opened = ray.get(ref)
        except RayTaskError as error:
            raise _as_error(error, f"Ray node {actor.node.name} cannot embed") from error
        except RayError as error:
            if "ModuleNotFoundError" in str(error):
                raise RagcoreError(
                    f"Ray node {actor.node.name} cannot import ragcore, or not this version of "
                    "it: install the same one on every node"
                ) from error
            self._lost_starting += 1
            log.warning("an embedding actor did not start on Ray node %s", actor.node.name)
            if self._lost_starting >= _MOST_ATTEMPTS and not self._ready:
                raise RagcoreError(
                    f"no embedding actor stays alive ({_first_line(error)}): look into the "
                    f"logs of Ray node {actor.node.name}; is its memory too small?"
                ) from error
            return
        self._check(opened, actor.node)
        self._ready.append(actor)
        self._lost_starting = 0
        log.info("Ray node %s embeds on %s", actor.node.name, opened.device)

    def _check(self, opened: Opened, node: Node) -> None:
        """Every node must give the same vectors."""
        if opened.version != __version__:
            raise RagcoreError(
                f"Ray node {node.name} has ragcore {opened.version}, this machine has "
                f"{__version__}: install one version everywhere"
            )
        first = self.opened = self.opened or opened
        if (opened.text, opened.image) != (first.text, first.image):
            raise RagcoreError(
                f"Ray node {node.name} embeds by {opened.text.name} and {opened.image.name}, "
                f"others by {first.text.name} and {first.image.name}: give all nodes the same "
                "weights"
            )

    def _hand_out(self) -> None:
        while self._waiting and self._ready:
            actor = min(self._ready, key=lambda a: a.load)
            if actor.load >= _AHEAD:
                return
            work = self._waiting.popleft()
            work.attempts += 1
            work.actor = actor
            actor.load += 1
            self._flying[actor.handle.embed.remote(work.batch)] = work

    def _result(self, ref: Any, work: _EmbeddingTask) -> list[Vectors] | None:
        actor = work.actor
        assert actor is not None
        actor.load -= 1
        try:
            vectors: list[Vectors] = ray.get(ref)
        except RayTaskError as error:
            raise _as_error(error, f"embedding failed on Ray node {actor.node.name}") from error
        except RayError as error:
            self._lost(actor, work, error)
            return None
        return vectors

    def _lost(self, actor: _Actor, work: _EmbeddingTask, error: RayError) -> None:
        if work.attempts >= _MOST_ATTEMPTS:
            raise RagcoreError(
                f"embedding the batch with {work.batch[0].file.path} ended {work.attempts} actors "
                f"({_first_line(error)})"
            ) from error
        if actor in self._ready:
            self._ready.remove(actor)
            ray.kill(actor.handle)
            self._without = time.monotonic()
        log.warning(
            "the embedding actor on Ray node %s is lost: its batch of %d documents goes to another",
            actor.node.name,
            len(work.batch),
        )
        self._waiting.appendleft(work)


def _as_error(error: RayTaskError, what: str) -> RagcoreError:
    """What went wrong on a node, in one line."""
    cause = error.cause if isinstance(error.cause, Exception) else error
    if isinstance(cause, RagcoreError):
        return RagcoreError(f"{what}: {cause}")
    if isinstance(cause, ModuleNotFoundError):
        return RagcoreError(f"{what}: {cause}: install ragcore on every node")
    return RagcoreError(f"{what}: {type(cause).__name__}: {_first_line(cause)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
