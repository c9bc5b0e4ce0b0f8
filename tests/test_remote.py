"""Model servers that fail: what is asked again, when it is given up, and when it is not asked."""

from __future__ import annotations

import logging
import threading
import time
from email.utils import formatdate

import pytest

from ragcore.errors import ModelUnavailable, RagcoreError, UsageError
from ragcore.models import remote
from ragcore.models.remote import (
    Circuit,
    RemoteServer,
    RequestRejected,
    RetryPolicy,
    circuit,
    circuits,
    wait,
)

from .flaky_server import FlakyServer, answer, hang_up, refuse, serving, silence, words

QUICK = RetryPolicy(connect=2, read=5, total=20, attempts=4, first_pause=0.02)
GOOD = answer({"good": True})


def asked(server: FlakyServer, retry: RetryPolicy = QUICK) -> RemoteServer:
    return RemoteServer(server.url, what="test server", retry=retry, key_variable="TEST_KEY")


class Clock:
    """The time for `ragcore.models.remote`: the real one plus what a test adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        monkeypatch.setattr(remote, "time", self)

    def passes(self, seconds: float) -> None:
        self.passed += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


def pauses(server: FlakyServer) -> list[float]:
    return [b - a for a, b in zip(server.times, server.times[1:], strict=False)]


@pytest.mark.parametrize("trouble", [refuse(503), refuse(500), refuse(408), hang_up])
def test_passing_trouble_is_not_noticed(trouble: object) -> None:
    with serving(trouble, trouble, GOOD) as server:  # type: ignore[arg-type]
        assert asked(server).post("/x", {}) == {"good": True}
        assert len(server.times) == 3
        assert circuit(server.url).state == "closed"


def test_it_is_given_up_after_the_last_attempt() -> None:
    with serving(refuse(503, "overloaded")) as server:
        with pytest.raises(ModelUnavailable, match=r"no test server .*overloaded \(attempt 4\)"):
            asked(server).post("/x", {})
        assert len(server.times) == 4


def test_pauses_grow_and_differ() -> None:
    retry = RetryPolicy(first_pause=1, longest_pause=6)
    drawn = [[retry.pause(attempt) for _ in range(300)] for attempt in range(6)]
    highest = [max(pauses) for pauses in drawn]
    assert all(len(set(pauses)) > 250 for pauses in drawn), "jitter: no two callers in step"
    for found, most in zip(highest, [1, 2, 4, 6, 6, 6], strict=True):
        assert 0.9 * most < found <= most


def test_the_server_says_how_long_to_wait() -> None:
    with serving(refuse(429, "slow down", Retry_After="1"), GOOD) as server:
        assert asked(server).post("/x", {}) == {"good": True}
        assert 1.0 <= pauses(server)[0] < 4
        assert circuit(server.url).state == "closed"
    with serving(refuse(429, "slow down", Retry_After="3600"), GOOD) as server:
        with pytest.raises(ModelUnavailable, match="slow down; it asks to wait 3600 s"):
            asked(server).post("/x", {})
        assert len(server.times) == 1
    assert wait(None) is wait("soon") is None
    assert wait("2.5") == 2.5
    assert wait(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert wait(formatdate(time.time() - 30, usegmt=True)) == 0


def test_a_refusal_is_final() -> None:
    for status, message in ((400, "no such field"), (404, "no model x")):
        with serving(refuse(status, message), GOOD) as server:
            with pytest.raises(
                RequestRejected, match=rf"refused \({status}\): {message}"
            ) as caught:
                asked(server).post("/x", {})
            assert (caught.value.status, len(server.times)) == (status, 1)
    with (
        serving(refuse(401), GOOD) as server,
        pytest.raises(RequestRejected, match="the key in TEST_KEY"),
    ):
        asked(server).post("/x", {})
    with pytest.raises(UsageError, match="must begin with http"):
        RemoteServer("127.0.0.1:80", what="test server")
    with pytest.raises(UsageError, match="time-outs"):
        RetryPolicy(read=0)


def test_a_silent_server_costs_the_time_out_and_no_more() -> None:
    retry = RetryPolicy(connect=1, read=0.3, total=30, attempts=2, first_pause=0.01)
    with serving(silence(60), GOOD) as server:
        assert asked(server, retry).post("/x", {}) == {"good": True}
    with serving(silence(60)) as server:
        started = time.monotonic()
        with pytest.raises(ModelUnavailable, match=r"nothing came within 0\.3 s"):
            asked(server, retry).post("/x", {})
        assert time.monotonic() - started < 30


def test_an_answer_that_never_ends_is_given_up() -> None:
    retry = RetryPolicy(read=2, total=0.6, attempts=3, first_pause=0.01)
    with serving(words(*(10 * "abcdefghijklmnopqrstuvwxyz"), every=0.1)) as server:
        started = time.monotonic()
        with pytest.raises(ModelUnavailable, match=r"over 0\.6 s"):
            list(asked(server, retry).lines("/x", {}))
        assert time.monotonic() - started < 20, "all its words take 26 seconds"
        assert len(server.times) == 1


def test_what_was_said_is_not_said_again() -> None:
    with serving(words("one", "two", then=hang_up, length=5000), GOOD) as server:
        lines: list[str] = []
        with pytest.raises(ModelUnavailable, match="in the middle of an answer"):
            lines.extend(asked(server).lines("/x", {}))
        assert sum("one" in line for line in lines) == 1
        assert len(server.times) == 1
    with serving(hang_up, refuse(502), words("one")) as server:  # nothing was said before
        assert any("one" in line for line in asked(server).lines("/x", {}))
        assert len(server.times) == 3


def test_stopping_ends_the_wait_for_another_attempt() -> None:
    stop = threading.Event()
    retry = RetryPolicy(attempts=3, longest_pause=30)
    with serving(refuse(503, Retry_After="20")) as server:
        threading.Timer(0.3, stop.set).start()
        started = time.monotonic()
        assert list(asked(server, retry).lines("/x", {}, stop)) == []
        assert time.monotonic() - started < 5
        assert len(server.times) == 1


def test_not_json_is_said() -> None:
    with serving(words("a")) as server, pytest.raises(RagcoreError, match="not JSON: b'data"):
        asked(server).post("/x", {})


def test_the_circuit_opens_and_says_so_and_closes_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(*[refuse(500, "out of memory")] * 4, GOOD) as server:
        own = Circuit(server.url, failures=3, pause=300)
        clock = Clock(monkeypatch)
        monkeypatch.setitem(remote._circuits, server.url, own)
        client = asked(server)
        with caplog.at_level(logging.WARNING, "ragcore"), pytest.raises(ModelUnavailable):
            client.post("/x", {})
        assert len(server.times) == 3, "it opens within one request's attempts"
        assert own.state == "open"
        assert (
            "opens after 3 failures in a row (HTTP 500); it is tried again in 300 s" in caplog.text
        )
        assert own in circuits()

        with pytest.raises(ModelUnavailable, match=r"is not asked: its circuit is open after 3"):
            client.post("/x", {})
        assert len(server.times) == 3, "a server that is down is left alone"

        clock.passes(301)
        assert own.state == "half-open"
        with pytest.raises(ModelUnavailable):
            client.post("/x", {})
        assert len(server.times) == 4, "one request is let through, fails, and opens it again"
        assert own.state == "open"

        clock.passes(301)
        with caplog.at_level(logging.WARNING, "ragcore"):
            assert client.post("/x", {}) == {"good": True}
        assert own.state == "closed"
        assert "answers again: its circuit is closed" in caplog.text


def test_a_half_open_circuit_lets_one_through(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    one = Circuit("http://x", failures=1, pause=30)
    one.failed("HTTP 500")
    clock.passes(31)
    one.enter()
    with pytest.raises(ModelUnavailable):
        one.enter()
    one.left()  # given up by its caller: the next one may try
    one.enter()
    one.succeeded()
    one.enter()
    assert one.state == "closed"
