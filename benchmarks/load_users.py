"""What the clients of `benchmarks/load.py` do: a file for Locust (https://locust.io)."""

from __future__ import annotations

import random

from locust import HttpUser, between, task

WORDS = (
    "table games", "river gauge", "drift of the gauge", "visitors to the workshops",
    "who approves journeys", "spare parts", "opening hours", "lunch break", "travel costs",
    "working hours", "safety shoes", "water level", "reading room", "holidays",
)  # fmt: skip
QUESTIONS = (
    "Are we allowed to play foosball during working hours?",
    "Who approves journeys?",
    "What must visitors to the workshops wear?",
    "How is the drift of the gauge corrected?",
)
C = "/api/v1/collections/load"
BUSY = (429, 503)  # documented, with Retry-After: come again


class Reader(HttpUser):
    """Somebody who searches often, asks now and then, and looks at what was found."""

    wait_time = between(0.5, 2.0)

    def _post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        with self.client.post(C + path, json=body, timeout=170, catch_response=True) as answer:
            if answer.status_code in BUSY and answer.headers.get("Retry-After"):
                answer.success()
                self.environment.events.request.fire(
                    request_type="BUSY", name=f"{path} {answer.status_code}", response_time=0,
                    response_length=0, exception=None, context={},
                )  # fmt: skip
                return {}
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
                return {}
            return dict(answer.json())

    @task(12)
    def search(self) -> None:
        words = " ".join(random.sample(" ".join(WORDS).split(), 2))
        found = self._post("/search", {"text": random.choice([*WORDS, words]), "kind": "all"})
        hits = found.get("hits")
        if isinstance(hits, list) and hits and random.random() < 0.3:
            document = hits[0]["document_id"]
            page = hits[0]["page"] or 1
            self.client.get(f"{C}/documents/{document}/pages/{page}", name="page", timeout=170)

    @task(1)
    def ask(self) -> None:
        self._post("/ask", {"question": random.choice(QUESTIONS), "k": 2})

    @task(2)
    def look(self) -> None:
        self.client.get(f"{C}/documents?limit=10", name="documents", timeout=170)
