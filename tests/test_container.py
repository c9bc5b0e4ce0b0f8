"""The container image: its steps in a bare Debian, as far as that is possible without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SCRIPT = "scripts/container_build.sh"
HOST_FILES = ("/etc/pip.conf", "/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt")
PATH = "/opt/ragcore/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def test_the_dockerfile_calls_every_step_of_the_script() -> None:
    script = (ROOT / SCRIPT).read_text("utf-8")
    steps = set(re.findall(r"^(\w+)\(\) \{", script, re.M)) - {"fail"}
    called = set(re.findall(r"container_build\.sh (\w+)", DOCKERFILE))
    assert called == steps == {"system", "packages", "user"}


def test_the_image_runs_without_root_and_reports_its_health() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.M)
    assert user is not None
    assert f"USER_ID={user[1]}" in (ROOT / SCRIPT).read_text("utf-8")
    assert int(user[1]) > 0
    for instruction in ("HEALTHCHECK", "VOLUME /var/lib/ragcore", "ARG VARIANT=cpu"):
        assert re.search(f"^{instruction}", DOCKERFILE, re.M), instruction


def test_the_team_has_a_database_and_a_vector_store() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    assert {name for name, one in services.items() if "team" in one.get("profiles", [])} == {
        "postgres",
        "milvus",
    }
    assert all("profiles" not in services[name] for name in ("api", "ui"))
    published = [port for one in services.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.fixture
def bare_debian(tmp_path: Path) -> Iterator[Path]:
    """A root folder with a minimal Debian 12, this host's way to the registries, and the source."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap (Debian: apt-get install debootstrap)")
    root = tmp_path / "root"
    packages = "python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root], check=True
    )
    for name in HOST_FILES:
        if Path(name).is_file():
            shutil.copyfile(name, root / name[1:])
    archive = tmp_path / "source.tar"
    subprocess.run(["git", "archive", f"--output={archive}", "HEAD"], cwd=ROOT, check=True)
    with tarfile.open(archive) as source:
        source.extractall(root / "src", filter="data")
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
    yield root
    subprocess.run(["umount", root / "proc"], check=True)


def inside(root: Path, *command: str, user: int = 0) -> str:
    """What a command prints in the root. Raises AssertionError, with its output, if it fails."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    home = {"HOME": "/root"} if not user else {"HOME": "/var/lib/ragcore"}
    settings = {
        "PATH": PATH,
        "RAGCORE_HOME": "/var/lib/ragcore/home",
        "RAGCORE_WEIGHTS_CACHE": "/var/lib/ragcore/weights",
    }
    done = subprocess.run(
        ["chroot", f"--userspec={user}:{user}", root, *command],
        env={**kept, **home, **settings},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.full
@pytest.mark.timeout(6000)
def test_the_steps_run_in_a_bare_debian(bare_debian: Path) -> None:
    script = f"/src/{SCRIPT}"
    inside(bare_debian, "bash", script, "system")
    inside(bare_debian, "bash", script, "packages", "cpu", "serve")
    inside(bare_debian, "bash", script, "user")
    assert list(bare_debian.glob("usr/lib/*/libgomp.so.1"))
    version = inside(bare_debian, "ragcore", "--version", user=10001)
    assert re.search(r"\d+\.\d+\.\d+", version)
    report = inside(bare_debian, "ragcore", "doctor", user=10001)
    assert "ok        weights llm: grounded-qa" in report
