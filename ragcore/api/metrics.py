"""What the server counts, in Prometheus' text format. No names of people, files or collections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ragcore.library import cache_lookups

if TYPE_CHECKING:
    from ragcore.api.work_limiter import WorkLimiter
    from ragcore.library import Library

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ragcore_http_requests", "Requests by route and status.",
            ("method", "route", "status"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "ragcore_http_request_seconds", "Time until the last byte of an answer.",
            ("route",), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._in_flight = self._gauge("ragcore_http_in_flight", "Requests being answered now.")
        self._stages = Histogram(
            "ragcore_stage_seconds", "Time in the parts of a search or an answer.",
            ("verb", "stage"), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._abstained = Counter(
            "ragcore_answers", "Answers, and those that were abstentions.",
            ("abstained",), registry=self.registry,
        )  # fmt: skip
        self._queue = self._gauge("ragcore_work", "Library calls by state.", "kind", "state")
        self._jobs = self._gauge("ragcore_jobs", "Jobs by kind and state.", "kind", "state")
        self._job_rate = self._gauge(
            "ragcore_job_items_per_second", "How quick the running jobs are, together.", "kind"
        )
        self._job_left = self._gauge(
            "ragcore_job_items_left", "What the running jobs still have before them.", "kind"
        )
        self._caches = self._gauge(
            "ragcore_cache_lookups", "Looks into a cache since the start.", "cache", "result"
        )
        self._documents = self._gauge("ragcore_documents", "Documents in all collections.")
        self._memory = self._gauge("ragcore_memory_bytes", "Memory of the server and its readers.")
        self._models = self._gauge(
            "ragcore_model_bytes", "Weights in memory, by model.", "part", "name"
        )
        self._gpu = self._gauge(
            "ragcore_gpu_bytes",
            "GPU memory: used by this process, free and in all.",
            "device",
            "state",
        )

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        with self._in_flight.track_inprogress():
            yield

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stages(self, verb: str, seconds: Mapping[str, float]) -> None:
        """Note where the time of a search or an answer went."""
        for stage, value in seconds.items():
            if stage != "confidence":
                self._stages.labels(verb, stage).observe(value)

    def answered(self, *, abstained: bool) -> None:
        self._abstained.labels(str(abstained).lower()).inc()

    def text(self, library: Library, limiter: WorkLimiter) -> bytes:
        """All figures as they are now. Looks into the catalog: call it in a thread."""
        for kind in limiter.waiting:
            self._queue.labels(kind, "waiting").set(limiter.waiting[kind])
            self._queue.labels(kind, "running").set(limiter.running[kind])
        self._count_jobs(library)
        for (cache, hit), count in cache_lookups().items():
            self._caches.labels(cache, "hit" if hit else "miss").set(count)
        self._documents.set(sum(library.admin.document_counts().values()))
        self._memory.set(library.models.process_memory())
        self._models.clear()
        for model in library.models.loaded():
            self._models.labels(model.part, model.name).set(model.bytes)
        for device, (used, free, total) in _gpu_bytes().items():
            for state, value in (("used", used), ("free", free), ("total", total)):
                self._gpu.labels(device, state).set(value)
        return generate_latest(self.registry)

    def _count_jobs(self, library: Library) -> None:
        for gauge in (self._jobs, self._job_rate, self._job_left):
            gauge.clear()
        for (kind, state), count in library.jobs.counts().items():
            self._jobs.labels(kind, state).set(count)
        for job in library.jobs.recent(100):
            if job.running:
                progress = job.progress
                self._job_rate.labels(job.kind).inc(float(progress.get("rate") or 0))
                left = int(progress.get("total") or 0) - int(progress.get("done") or 0)
                self._job_left.labels(job.kind).inc(max(0, left))


def _gpu_bytes() -> dict[str, tuple[int, int, int]]:
    """(used by this process, free, total) by GPU, without loading torch for it."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    found = {}
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found[f"cuda:{index}"] = (int(torch.cuda.memory_reserved(index)), int(free), int(total))
    return found
