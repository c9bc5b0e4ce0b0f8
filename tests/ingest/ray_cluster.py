"""A Ray cluster of three machines that are this one: a head and two nodes on the loopback net."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.waiting import wait_until

HEAD = "127.0.0.2"  # not .1, which Ray silently turns into this machine's outer address
NODES = ("127.0.0.3", "127.0.0.4")
RAY = str(Path(sys.executable).with_name("ray"))
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class RayCluster:
    """Started by `start`; every process of it ends with `stop`."""

    folder: Path
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{HEAD}:{self.port}"

    def start(self) -> None:
        with socket.socket() as free:
            free.bind((HEAD, 0))
            self.port = free.getsockname()[1]
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_memory_monitor_refresh_ms": "0",  # other tests' memory is not this cluster's
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        head = (f"--port={self.port}", "--num-cpus=0", f"--temp-dir={self.folder / 'r'}")
        self._ray(HEAD, "--head", "--include-dashboard=false", "--disable-usage-stats", *head)
        with ThreadPoolExecutor() as pool:
            join = (f"--address={self.address}", "--num-cpus=1")
            list(pool.map(lambda node: self._ray(node, *join), NODES))

    def kill(self, node: str) -> None:
        """Kill -9 of the process that is the node, as when a machine loses its power."""
        [raylet] = [p for p in self._processes(f"--node_ip_address={node}") if p.name() == "raylet"]
        raylet.kill()

    def stop(self) -> None:
        """Every process that names the cluster's folder, and nothing else."""
        self._end([*self._started.values(), *self._processes()])

    def _end(self, processes: Sequence[subprocess.Popen[bytes] | psutil.Process]) -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.wait(timeout=20)

    def _processes(self, mark: str = "") -> list[psutil.Process]:
        """What Ray started here; `mark` is a part of its command line."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(self.folder) in line and mark in line:
                found.append(process)
        return found

    def _ray(self, node: str, *options: str, attempts: int = 3) -> None:
        """Start one, and wait until it is up; Ray itself gives up after 30 s on a busy machine."""
        command = [RAY, "start", "--block", f"--node-ip-address={node}"]
        for _ in range(attempts):
            with self._log(node).open("wb") as log:
                self._started[node] = subprocess.Popen(
                    [*command, "--object-store-memory=100000000", *options],
                    env=self.environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            if self._is_up(node):
                return
            self._end([self._started[node], *self._processes(f"={node}")])
        raise AssertionError(f"{node} does not start: {self._log(node).read_text()}")

    def _log(self, node: str) -> Path:
        return self.folder / f"{node}.log"

    def _is_up(self, node: str, seconds: float = 180) -> bool:
        def result() -> bool:
            return "Ray runtime started" in self._log(node).read_text()

        try:
            wait_until(
                lambda: result() or self._started[node].poll() is not None,
                f"the start of {node}", seconds=seconds, every=0.2,
            )  # fmt: skip
        except AssertionError:
            return False
        return result()
