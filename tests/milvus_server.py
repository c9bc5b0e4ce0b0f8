"""A real Milvus standalone server on loopback, from the package `milvus` (see
scripts/ensure_milvus.sh), with a data folder of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.waiting import wait_until

HOME = Path(os.environ.get("RAGCORE_MILVUS_SERVER") or Path(sys.prefix) / "milvus-server")
MISSING = f"needs the Milvus server in {HOME} (scripts/ensure_milvus.sh puts it there)"
TOKEN = "root:Milvus"  # of a new server with access control
_PORTS = ("etcd", "peer", "root_coord", "proxy", "proxy_internal", "query_coord", "query_node")
_PORTS += ("index_coord", "index_node", "data_coord", "data_node", "metrics")


def available() -> bool:
    return (HOME / "milvus" / "__init__.py").is_file()


class MilvusServer:
    """Starts in about nine seconds and takes 250 MB. The ports stay the same over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = _free_ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it is healthy. Raises RuntimeError with its log if it is not."""
        binary = self._prepare()
        environment = {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "LD_LIBRARY_PATH": str(binary.parent),
            "METRICS_PORT": str(self._ports["metrics"]),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
        }
        log = self.folder / "logs" / "console.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [str(binary), "run", "standalone"],
                cwd=self.folder,
                env=environment,
                stdout=file,
                stderr=file,
            )
        process = self._process
        try:
            wait_until(lambda: self._healthy() or process.poll() is not None, "Milvus' start")
            if process.poll() is not None:
                raise RuntimeError("Milvus ended as soon as it was started")
        except (AssertionError, RuntimeError) as error:
            self.kill()
            raise RuntimeError(f"{error}: {log.read_text()[-2000:]}") from None

    def kill(self) -> None:
        """As a crash would: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _healthy(self) -> bool:
        url = f"http://127.0.0.1:{self._ports['metrics']}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return b"OK" in answer.read()
        except (urllib.error.URLError, OSError):
            return False

    def _prepare(self) -> Path:
        """Write the configuration; return the binary, unpacked once for all folders."""
        package = _package()
        self.folder.mkdir(parents=True, exist_ok=True)
        unpacked = HOME / "unpacked"
        package._initialize_data_files(str(unpacked))
        configs = self.folder / "configs"
        if not configs.exists():
            ports = {f"{name}_port": port for name, port in self._ports.items()}
            config = package.MilvusServerConfig(data_dir=str(self.folder), **ports)
            config.set("authorization_enabled", True)
            config.resolve()
            self._configure_etcd(configs)
        return unpacked / "bin" / "milvus"

    def _configure_etcd(self, configs: Path) -> None:
        """The embedded etcd takes fixed ports unless it has a configuration of its own."""
        client, peer = (f"http://127.0.0.1:{self._ports[name]}" for name in ("etcd", "peer"))
        settings = {
            "name": "default",
            "data-dir": str(self.folder / "data" / "etcd.data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "log-outputs": [str(self.folder / "logs" / "etcd.log")],
        }
        (configs / "etcd.json").write_text(json.dumps(settings))  # JSON is YAML, too
        main = configs / "milvus.yaml"
        text = main.read_text()
        given = f"etcd:\n  config:\n    path: {configs / 'etcd.json'}\n"
        main.write_text(text.replace("\netcd:\n", f"\n{given}", 1))


def _package() -> Any:
    sys.path.append(str(HOME))
    try:
        import milvus
    finally:
        sys.path.remove(str(HOME))
    return milvus


def _free_ports() -> dict[str, int]:
    """Ports that nobody uses now; held together while they are chosen, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in _PORTS]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return dict(zip(_PORTS, ports, strict=True))
