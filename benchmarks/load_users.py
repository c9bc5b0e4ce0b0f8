"""What one client of `benchmarks/load.py` does: a locustfile (https://locust.io).

Nine searches to one question, with half a second to two seconds between them. 503 with
Retry-After is the server's word that it is full; it is counted under a name of its own and asked
again, as a client should.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from locust import FastHttpUser, between, task

sys.path.insert(0, str(Path(__file__).parent))

from load_notes import question, station

KNOWN = int(os.environ.get("LOAD_KNOWN", "100"))  # files that are there from the start
API = "/api/v1/collections/notes"


class Client(FastHttpUser):
    weight = 6
    wait_time = between(0.5, 2.0)
    connection_timeout = network_timeout = 170.0

    def ask(self, path: str, body: dict[str, object], name: str) -> None:
        while True:
            with self.client.post(path, json=body, name=name, catch_response=True) as reply:
                if reply.status_code != 503:
                    return
                # it did what it should: refused at once, with the time to wait
                reply.request_meta["name"] = f"{name}, full"
                reply.success()
                pause = float(reply.headers.get("Retry-After") or 1)
            time.sleep(pause * random.uniform(0.5, 1.5))

    @task(9)
    def search(self) -> None:
        text = f"{station(random.randrange(10))} gauge {random.randrange(13)} radio battery"
        self.ask(f"{API}/search", {"text": text, "kind": "passages", "limit": 10}, "search")

    @task(1)
    def ask_one(self) -> None:
        self.ask(f"{API}/ask", {"question": question(random.randrange(KNOWN))}, "ask")
