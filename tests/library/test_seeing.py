"""Images asked and captioned through the library, the command line and the page Ask."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image as PillowImage
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from ragcore.catalog.models import Image
from ragcore.cli.main import cli
from ragcore.errors import Cancelled, UnreadableFile, UsageError
from ragcore.library import Library
from ragcore.llm.vision_llm import ImageAnswer
from ragcore.settings import Settings
from ragcore.tuning.clip.data import of_collection
from ragcore.types import CancelToken, Progress
from ragcore.weights import WeightStore

from ..image_models import save_projector, save_small_llm
from ..tuning.clip_samples import draw
from ..waiting import wait_until

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def profile(
    tiny_profile: Path, starter_weights: WeightStore, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny encoders, with a model that answers and has a name of its own."""
    folder = tmp_path_factory.mktemp("seeing")
    base = save_small_llm(folder / "llm", starter_weights)
    save_projector(folder / "small-eyes", base)
    path = folder / "small.toml"
    path.write_text(
        f'name = "small"\n[text_encoder]\nweights = "local:{tiny_profile.parent}/text"\n'
        'kind = "sentence-transformers"\n'
        f'[image_text_encoder]\nweights = "local:{tiny_profile.parent}/clip"\nkind = "open_clip"\n'
        '[llm]\nweights = "local:llm"\nkind = "transformers"\n'
        '[vision_llm]\nweights = "local:small-eyes"\nkind = "projector"\n'
    )
    return path


@pytest.fixture
def home(profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGCORE_PROFILE", str(profile))
    monkeypatch.setenv("RAGCORE_PRECISION", "float32")
    monkeypatch.setenv("RAGCORE_OCR", "off")
    monkeypatch.setenv("RAGCORE_WORKERS", "1")
    return tmp_path / "home"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for color in COLORS:
        draw(color, "circle", 1).resize((96, 96)).save(folder / f"{color}.png")
    draw("white", "bar", 1).resize((24, 24)).save(folder / "icon.png")
    return folder


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    with Library(Settings()) as made:
        yield made


def captions_of(library: Library) -> dict[str, tuple[str, str]]:
    """(caption, by whom) by file name."""
    with library.admin.catalog.read() as session:
        rows = session.query(Image.name, Image.caption, Image.caption_by)
        return {name: (caption, by) for name, caption, by in rows}


def test_a_question_is_answered_in_pieces_and_by_name(library: Library, images: Path) -> None:
    image = images / "red.png"
    result = list(library.images.ask_stream(image, "What is it?"))
    answer = result[-1]
    assert isinstance(answer, ImageAnswer)
    assert answer.model == "small-eyes"
    assert "".join(piece for piece in result if isinstance(piece, str)).strip() == answer.text
    assert library.images.ask(image.read_bytes(), "What is it?").text == answer.text
    assert library.images.caption(image).text
    assert not library.collections(), "it needs no collection"
    with pytest.raises(UsageError, match="empty"):
        library.images.ask(image, " ")
    broken = images / "broken.png"
    broken.write_bytes(image.read_bytes()[:60])
    for bad in (broken, images / "none.png", b""):
        with pytest.raises(UnreadableFile):
            library.images.ask(bad, "What is it?")


def test_captions_come_only_when_wanted_and_never_over_a_person(
    library: Library, images: Path
) -> None:
    library.ingest([images])
    assert set(captions_of(library).values()) == {("", "")}, "off by default"
    with library.admin.catalog.write() as session:
        session.execute(
            update(Image).where(Image.name == "green.png").values(caption="A ball on grass")
        )
    report = library.images.caption_collection()
    assert (report.captioned, report.unreadable, report.model) == (2, 0, "small-eyes")
    found = captions_of(library)
    assert found["green.png"] == ("A ball on grass", "")
    assert found["icon.png"] == ("", ""), "too small to be described"
    assert found["red.png"][0]
    assert found["red.png"][1] == "small-eyes"
    learnt = of_collection(library.admin.settings, "default")
    assert [item.captions for item in learnt] == [("A ball on grass",)], "people's words only"
    assert library.images.caption_collection().captioned == 0
    kept = captions_of(library)
    assert library.ingest([images], captions=True).unchanged == 4
    assert captions_of(library) == kept


def test_ingest_captions_on_demand_and_words_find_them(
    library: Library, images: Path, home: Path
) -> None:
    library.ingest([images / "blue.png"], captions=True)
    caption, by = captions_of(library)["blue.png"]
    assert by == "small-eyes"
    word = max((w for w in caption.split() if w.isalpha()), key=len)
    hit = next(h for h in library.search(word, cutoff=0).hits if h.kind == "image")
    assert hit.text == caption
    assert hit.caption_by == "small-eyes"
    assert hit.why.lexical


def test_a_stopped_run_keeps_what_it_wrote_and_goes_on(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(12):
        image = draw(COLORS[number % 3], "square", number % 3).resize((80, 80 + number))
        image.save(folder / f"{number}.png")
    library.ingest([folder])
    (folder / "3.png").unlink()
    token = CancelToken()

    def stop(step: Progress) -> None:
        token.cancel()

    with pytest.raises(Cancelled, match="which are kept"):
        library.images.caption_collection(progress=stop, cancel=token)
    first = {name for name, (caption, _) in captions_of(library).items() if caption}
    assert len(first) == 7, "the first batch of eight, but for the file that is gone"
    seen: list[Progress] = []
    report = library.images.caption_collection(progress=seen.append)
    assert (report.captioned, report.unreadable) == (4, 1)
    assert (seen[-1].done, seen[-1].total) == (5, 5)


def test_a_job_captions_in_the_background(library: Library, images: Path) -> None:
    library.ingest([images])
    job = library.jobs.wait(library.jobs.start_captioning())
    assert (job.state, job.report["captioned"]) == ("done", 3)


def test_commands(home: Path, images: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    image = str(images / "red.png")
    result = run("ask", "--image", image, "What is it?")
    assert result.rstrip().endswith("by small-eyes, from the image alone")
    answer = json.loads(run("ask", "--image", image, "What is it?", "--json"))
    assert set(answer) == {"answer", "model", "seconds"}
    assert answer["answer"] in result
    run("ingest", image)
    report = json.loads(run("caption", "--json"))
    assert (report["captioned"], report["model"]) == (1, "small-eyes")
    assert "0 captions by small-eyes" in run("caption")
    (hit,) = json.loads(run("search", "--image", image, "--json"))["hits"]
    assert hit["caption_by"] == "small-eyes"
    assert "[caption by small-eyes]" in run("search", "--image", image)
    with pytest.raises(UsageError, match="--model goes with --image"):
        run("ask", "Why?", "--model", "x")


def test_images_are_part_of_a_conversation(home: Path, images: Path) -> None:
    from ragcore_app.components import actions
    from ragcore_app.state import close_libraries, library

    page = "from ragcore_app.state import apply_pending\nfrom ragcore_app.views import ask\n"
    test = AppTest.from_string(f"{page}apply_pending()\nask.show()\n", default_timeout=120)
    try:
        library().ingest([images])
        me = "ann"
        test.session_state["_owner"] = me
        test.run()
        test.chat_input[0].upload("red.png", (images / "red.png").read_bytes(), "image/png")
        answer(test.chat_input[0].set_value("What is it?").run())
        (talk,) = library().chats.list(me)
        asked, said = library().chats.turns(me, talk.id)
        assert said.content
        assert said.payload["model"] == "small-eyes"
        assert any("from the image alone" in caption.value for caption in test.caption)
        shown = PillowImage.open(io.BytesIO(base64.b64decode(asked.payload["image"]["data"])))
        assert max(shown.size) <= 1024
        assert any(button.key == "no-about-image" for button in test.button), "it stays at hand"
        answer(test.chat_input[0].set_value("And which color?").run())
        *_, again, _ = library().chats.turns(me, talk.id)
        assert "data" in again.payload["image"], "a follow-up sees the image, too"
        assert "(about an image)" in library().chats.export_markdown(me, talk.id)

        test.button(key="no-about-image").click().run()
        assert not any(button.key == "no-about-image" for button in test.button)
        first = library().images.list()[0].id
        test.session_state[actions.ABOUT] = {"id": first}
        answer(test.run().chat_input[0].set_value("What is this?").run())
        *_, asked, said = library().chats.turns(me, talk.id)
        assert asked.payload["image"] == {"id": first}
        assert said.payload["model"] == "small-eyes"
        test.chat_input[0].upload("red.png", b"no image", "image/png")
        test.chat_input[0].set_value("What is it?").run()
        assert "image" in test.error[0].value
        assert len(library().chats.turns(me, talk.id)) == 6
    finally:
        close_libraries()


def answer(test: AppTest) -> None:
    """Run the page until nothing is being written any more."""
    wait_until(lambda: all(one.label != "Stop" for one in test.run().button), "the answer")
    assert not test.exception
