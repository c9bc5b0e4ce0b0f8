"""How quick the browser pages are, in a real browser on a real server.

    python benchmarks/ui.py paint --home HOME         first paint and warm searches
    python benchmarks/ui.py crowd --home HOME         three people and an ingest of 500 files
    python benchmarks/ui.py large                     20,000 passages and 5,000 images

HOME is a folder with the sample collection in it (`ragcore ingest data/sample`). `large` makes
its collection itself: passages of drawn words and small drawn images, with random unit vectors
around 200 centers in place of embeddings; queries are really encoded and really searched. Times
are wall-clock, from the key press to the drawn result, and include the browser; `server_cpu` is
the processor time that the server took for it, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "app"))

from app_browser import Server, Watched, chromium, settle

from ragcore.catalog import Catalog
from ragcore.catalog.embeddings import add_embeddings
from ragcore.catalog.models import Document, DocumentPage, Image, Passage, Thumbnail
from ragcore.library import Library
from ragcore.settings import Settings

_TERMS = """river gauge level sensor drift station flood weir rain record survey bridge channel
handbook travel expense working hours table games lunch break manager office visitor parking
meeting minutes plan quarter budget spare part battery antenna mast cable cabinet key"""
WORDS = _TERMS.split()
QUESTIONS = (
    "table games",
    "flood records",
    "drift of a sensor",
    "spare battery",
    "visitor parking",
)


def median(values: list[float]) -> float:
    return round(sorted(values)[len(values) // 2], 2)


class Person:
    """A browser of one's own."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.watched = Watched(self.page, server.url)
        self.url = server.url

    def open(self, path: str) -> float:
        """Open a page; seconds until it is drawn."""
        began = time.perf_counter()
        self.page.goto(self.url + path)
        main = self.page.get_by_test_id("stMainBlockContainer")
        main.locator("input, p, canvas").filter(visible=True).first.wait_for()
        painted = time.perf_counter() - began
        settle(self.page)
        return painted

    def search(self, words: str) -> float:
        """Type words; seconds until their results are drawn."""
        self.press(words)
        return self.drawn()

    def press(self, words: str) -> None:
        """Type words and send them off."""
        box = self.page.get_by_label("Search", exact=True)
        box.fill(words)
        seen = self.page.locator(".document, .image")
        seen.evaluate_all("all => all.forEach(one => one.dataset.old = '1')")
        self.began = time.perf_counter()
        box.press("Enter")

    def drawn(self) -> float:
        """Seconds from `press` until the results are drawn."""
        self.page.wait_for_function(
            """() => !document.querySelector('[data-testid=stSpinner]') &&
            /results? in /.test(document.body.innerText) &&
            document.querySelector('[data-test-script-state=notRunning]')""",
            polling=20,
        )
        self.page.locator(".document:not([data-old])").first.wait_for()
        return time.perf_counter() - self.began

    def ask(self, question: str) -> None:
        """Ask and wait until the answer is written."""
        self.open("/ask")
        self.page.get_by_test_id("stChatInputTextArea").fill(question)
        self.page.keyboard.press("Enter")
        stop = self.page.get_by_role("button", name="Stop")
        stop.wait_for()
        stop.wait_for(state="hidden")
        settle(self.page)

    def seen(self) -> str:
        return str(self.page.locator("body").inner_text())


def memory(server: Server) -> int:
    """MiB of the server and its children."""
    import psutil

    process = psutil.Process(server.pid)
    family = [process, *process.children(recursive=True)]
    return round(sum(one.memory_info().rss for one in family) / 2**20)


def busy(server: Server) -> float:
    """Processor seconds that the server has used so far: the same on a busy machine."""
    import psutil

    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


def with_server(home: Path, work: Callable[[Any, Server], dict[str, Any]]) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(home, Path(folder) / "log")
        started = server.start()
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            return {"server_start_s": round(started, 2), **work(browser, server)}
        finally:
            browser.close()
            server.stop()


def warm(person: Person) -> None:
    person.open("/?kind=Passages")
    person.search("warm up")
    person.page.goto(person.url)
    settle(person.page)


def paint(browser: Any, server: Server) -> dict[str, Any]:
    first = Person(browser, server)
    cold = first.open("/")
    warm(first)
    again = [Person(browser, server).open("/") for _ in range(5)]
    first.open("/")
    before = busy(server)
    searches = [first.search(words) for words in QUESTIONS * 2]
    first.watched.check()
    return {
        "first_paint_cold_s": round(cold, 2),
        "first_paint_s": median(again),
        "search_s": median(searches),
        "search_worst_s": round(max(searches), 2),
        "search_server_cpu_s": round((busy(server) - before) / len(searches), 2),
        "memory_mib": memory(server),
    }


def crowd(browser: Any, server: Server) -> dict[str, Any]:
    people = [Person(browser, server) for _ in range(3)]
    for person in people:
        warm(person)
    private = [f"Tell me about the {words}." for words in QUESTIONS[:3]]
    for person, question in zip(people, private, strict=True):
        person.ask(question)
    addresses = [person.page.url for person in people]
    for person, own in zip(people, private, strict=True):
        for address in addresses:
            person.page.goto(address)
            settle(person.page)
            foreign = [words for words in private if words != own and words in person.seen()]
            assert not foreign, f"a conversation was seen by another: {foreign}"
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for number in range(500):
            text = " ".join(rng.choice(WORDS, 300))
            Path(folder, f"file-{number}.txt").write_text(text)
        adder = people[0]
        adder.open("/library?view=Add")
        adder.page.get_by_label("Folder or file").fill(folder)
        adder.page.keyboard.press("Enter")
        adder.page.get_by_role("button", name="Add the folder").click()
        adder.page.get_by_role("button", name="Cancel").wait_for()
        began = time.perf_counter()
        times: list[float] = []
        for person in people:
            person.open("/")
        while time.perf_counter() - began < 600:
            for place, person in enumerate(people):  # all three at the same time
                person.press(QUESTIONS[(len(times) + place) % 5])
            times += [person.drawn() for person in people]
            if "Adding to" not in people[1].seen():
                break
        lasted = time.perf_counter() - began
    for person in people:
        person.watched.check()
        assert "went wrong" not in person.seen()
    return {
        "searches_during_ingest": len(times),
        "search_s": median(times),
        "search_worst_s": round(max(times), 2),
        "ingest_of_500_files_s": round(lasted, 1),
        "memory_mib": memory(server),
    }


def large(browser: Any, server: Server) -> dict[str, Any]:
    person = Person(browser, server)
    warm(person)
    result: dict[str, Any] = {}
    for name, path in {
        "search_page_s": "/",
        "documents_s": "/library",
        "overview_s": "/library?view=Overview",
        "map_first_s": "/library?view=Map",
        "map_again_s": "/library?view=Map",
        "duplicates_s": "/library?view=Duplicates",
        "add_s": "/library?view=Add",
    }.items():
        began, before = time.perf_counter(), busy(server)
        person.open(path)
        result[name] = round(time.perf_counter() - began, 2)
        result[name.removesuffix("_s") + "_server_cpu_s"] = round(busy(server) - before, 2)
    person.open("/")
    before = busy(server)
    searches = [person.search(words) for words in QUESTIONS * 2]
    person.watched.check()
    result |= {
        "search_s": median(searches),
        "search_worst_s": round(max(searches), 2),
        "search_server_cpu_s": round((busy(server) - before) / len(searches), 2),
    }
    return {**result, "memory_mib": memory(server)}


def make_large(home: Path, passages: int = 20_000, images: int = 5_000) -> None:
    """A collection of that size, without running a model on it."""
    rng = np.random.default_rng(0)
    with Library(Settings(home=home)) as library:
        row = library.create_collection("large")
        models, catalog = library.admin.models, library.admin.catalog
        spaces = [models.text_encoder().space, models.image_text_encoder().space]
        ids = [catalog.space_id(one.name, one.modality, one.dimension) for one in spaces]
        for number, space in zip(ids, spaces, strict=True):
            catalog.use_space(row.id, number, space.modality)
        centers = [rng.normal(size=(200, space.dimension)) for space in spaces]

        def vectors(of: int, count: int) -> Any:
            made = centers[of][rng.integers(0, 200, count)]
            made = made + 0.6 * rng.normal(size=made.shape)
            return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

        add_texts(catalog, row.id, ids[0], passages, rng, partial(vectors, 0))
        add_images(catalog, row.id, ids[1], images, rng, partial(vectors, 1))


def add_texts(
    catalog: Catalog,
    collection: int,
    space: int,
    passages: int,
    rng: Any,
    vectors: Callable[[int], Any],
) -> None:
    """Documents of 20 passages each, with vectors of their own."""
    per = 20
    for start in range(0, passages // per, 100):
        with catalog.write() as session:
            chosen = []
            for number in range(start, min(start + 100, passages // per)):
                texts = [" ".join(rng.choice(WORDS, 90)) for _ in range(per)]
                document = Document(
                    collection_id=collection, path=f"/large/{number % 40}/text-{number}.txt",
                    name=f"text-{number}.txt", title=f"Text {number}", size=12_000,
                    media_type="text/plain", sha256=f"t{number}", page_count=1,
                    passage_count=per,
                )  # fmt: skip
                session.add(document)
                session.flush()
                whole = "\n".join(texts)
                session.add(DocumentPage(document_id=document.id, number=1, text=whole))
                at = 0
                for ordinal, text in enumerate(texts):
                    session.add(passage := Passage(
                        document_id=document.id, collection_id=collection, ordinal=ordinal,
                        page=1, page_end=1, start=at, end=at + len(text), text=text,
                        title=f"Text {number}",
                    ))  # fmt: skip
                    chosen.append(passage)
                    at += len(text) + 1
            session.flush()
            numbers = [passage.id for passage in chosen]
            add_embeddings(session, collection, space, numbers, vectors(len(numbers)))


def add_images(
    catalog: Catalog,
    collection: int,
    space: int,
    images: int,
    rng: Any,
    vectors: Callable[[int], Any],
) -> None:
    """Images of noise with thumbnails and vectors."""
    from PIL import Image as Pillow

    from ragcore.readers.images import phash, thumbnail

    for start in range(0, images, 500):
        with catalog.write() as session:
            chosen_images = []
            for number in range(start, min(start + 500, images)):
                pixels = rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)
                pil_image = Pillow.fromarray(pixels).resize((240, 240), Pillow.Resampling.BICUBIC)
                document = Document(
                    collection_id=collection, path=f"/large/images/{number}.jpg",
                    name=f"{number}.jpg", title=f"{number}.jpg", media_type="image/jpeg",
                    size=9_000, sha256=f"i{number}", image_count=1,
                )  # fmt: skip
                session.add(document)
                session.flush()
                image = Image(
                    document_id=document.id, collection_id=collection, ordinal=0, width=240,
                    height=240, pixels_sha256=f"p{number}", phash=phash(pil_image),
                )  # fmt: skip
                session.add(image)
                session.flush()
                chosen_images.append(image.id)
                data = thumbnail(pil_image)
                session.execute(insert(Thumbnail), [{"image_id": image.id, "data": data}])
            add_embeddings(session, collection, space, chosen_images, vectors(len(chosen_images)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("paint", "crowd", "large"))
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    if given.what == "large":
        with tempfile.TemporaryDirectory() as folder:
            home = given.home or Path(folder) / "home"
            if not (home / "catalogue.db").exists():
                make_large(home)
            result = with_server(home, large)
    elif given.home is None:
        parser.error("--home is needed: a folder with the sample collection")
    else:
        result = with_server(given.home, paint if given.what == "paint" else crowd)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
