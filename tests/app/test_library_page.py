"""The page Library: adding, watching, looking after; what was interrupted goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ragcore_app.state import close_libraries, library
from streamlit.testing.v1 import AppTest

from ragcore.catalog.models import Job
from ragcore.library import Library
from ragcore.settings import save_setting
from tests import model_servers
from tests.waiting import wait_until

Page = Callable[..., AppTest]


def wait_for_jobs() -> None:
    wait_until(lambda: not any(job.running for job in library().jobs.recent()), "the job's end")


def texts(test: AppTest) -> str:
    parts = [*test.markdown, *test.caption, *test.warning, *test.error]
    return "\n".join(str(part.value) for part in parts)


@pytest.mark.usefixtures("home")
def test_documents_are_listed_and_found(page: Page) -> None:
    test = page("library").run()
    assert not test.exception
    table = test.dataframe[0].value
    assert len(table) == 12
    assert set(table["State"]) == {"Ready"}
    test.text_input(key="docs-search").set_value("handbook").run()
    assert list(test.dataframe[0].value["Name"]) == ["staff-handbook.pdf"]
    test.text_input(key="docs-search").set_value("no such thing").run()
    assert "No document fits that" in texts(test)


def test_what_was_not_read_of_a_document(page: Page, own_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"column {n}" for n in range(600)) + "\n")
    library().ingest([path], collection="sample")
    test = page("library").run()
    test.segmented_control(key="docs-state").set_value("Incomplete").run()
    [row] = test.dataframe[0].value.to_dict("records")
    assert (row["Name"], row["Read"]) == ("wide.csv", "in part")
    assert "only the first 500 columns" in row["Problem"]
    search = page("search", q="column", incomplete="yes").run()
    assert search.selectbox(key="incomplete").value == "yes"
    assert not search.exception


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("view", ["Overview", "Map", "Duplicates", "Labels", "Add", "Trash"])
def test_every_view_opens(page: Page, view: str) -> None:
    test = page("library", view=view).run()
    assert not test.exception
    assert not test.error


@pytest.mark.usefixtures("home")
def test_the_copy_is_found_among_the_duplicates(page: Page) -> None:
    test = page("library", view="Duplicates").run()
    names = [b.label.replace("\\", "") for b in test.button if str(b.key).startswith("twin-")]
    assert {"green-bars.png", "green-bars-copy.jpg"} <= set(names)


@pytest.mark.usefixtures("home")
def test_images_get_the_labels_that_were_typed(page: Page) -> None:
    test = page("library", view="Labels").run()
    assert "Type at least two" in texts(test)
    test.slider(key="label-least").set_value(0.0)
    test.text_area(key="labels").set_value("green stripes, red circle").run()
    assert not test.exception
    assert any("image" in one.value for one in test.subheader)
    test.toggle(key="label-none").set_value(False).run()
    titles = " ".join(one.value for one in test.subheader)
    assert "green stripes" in titles or "red circle" in titles
    assert "None of these" not in titles
    parts = [one.proto for one in test.get("bidi_component")]
    shown = [json.loads(one.json)["sections"][0]["images"] for one in parts]
    assert sum(map(len, shown)) == library().documents.statistics("sample").images
    counts = test.pills(key="label-only")
    counts.set_value(counts.options[0].rpartition(" ·")[0]).run()
    [alone] = [one.proto for one in test.get("bidi_component")]
    assert len(json.loads(alone.json)["sections"][0]["images"]) == len(shown[0])
    test.pills(key="label-only").set_value(None).run()
    test.text_area(key="labels").set_value("dog, Dog").run()
    assert "given twice" in texts(test)


def test_deciding_is_remembered(page: Page, own_home: Path) -> None:
    test = page("library", view="Duplicates").run()
    for _ in range(5):
        undecided = [b for b in test.button if str(b.key).startswith("different-")]
        if not undecided:
            break
        undecided[0].click().run()
    again = page("library", view="Duplicates").run()
    assert "all of it has been decided" in texts(again)


def test_upload_ingest_and_delete(page: Page, own_home: Path) -> None:
    test = page("library", view="Add").run()
    test.file_uploader[0].upload(
        "note.txt", b"The lighthouse keeper counts sheep.\n", "text/plain"
    ).upload("broken.pdf", b"%PDF-1.4 nothing", "application/pdf").run()
    assert test.button(key="upload-go").label == "Add 2 files"
    test.button(key="upload-go").click().run()
    assert not test.error
    wait_for_jobs()
    drawn = {path.name.partition("-")[2] for path in (own_home / "maps").iterdir()}
    assert drawn == {"passages.npz", "images.npz"}, "nobody waits for a map after an ingest"
    test.run()
    assert "1 file added" in texts(test)
    assert any("could not be read" in expander.label for expander in test.expander)
    found = library().search("lighthouse keeper", collection="sample", kind="passages")
    assert found.hits[0].document.startswith("note")
    stored = Path(found.hits[0].path)
    assert stored.is_relative_to(own_home / "uploads")
    assert library().documents.remove([found.hits[0].document_id], collection="sample") == 1
    assert not stored.exists(), "an upload goes with its document"


def test_a_folder_that_is_not_allowed_is_refused(
    page: Page, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGCORE_ALLOWED_ROOTS", str(tmp_path / "allowed"))
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret").mkdir()
    test = page("library", view="Add").run()
    test.text_input(key="folder").set_value(str(tmp_path / "secret")).run()
    test.button(key="folder-go").click().run()
    assert "outside the allowed folders" in test.error[0].value
    assert not library().jobs.recent()
    test.text_input(key="folder").set_value(str(tmp_path / "allowed" / "none")).run()
    test.button(key="folder-go").click().run()
    assert "No such file or folder" in test.error[0].value


def test_an_interrupted_ingest_is_reported_and_goes_on(
    page: Page, own_home: Path, tmp_path: Path
) -> None:
    """As a killed server leaves it: a job that says `running`, of a process that is gone."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "late.txt").write_text("The late note about the windmill.\n")
    with library().admin.catalog.write() as session:
        session.add(
            Job(
                kind="ingest",
                collection="sample",
                state="running",
                request={"paths": [str(folder)], "sync": False, "attempt": 1},
                progress={"stage": "store", "done": 3, "total": 9},
                process="nobody:1:0.00".replace("nobody", __import__("socket").gethostname()),
            )
        )
    close_libraries()
    AppTest.from_string("import streamlit as st; st.cache_resource.clear()").run()
    test = page("library", view="Add").run()
    assert not test.exception
    wait_for_jobs()
    test.run()
    assert "it went on where that was" in texts(test)
    states = [job.state for job in library().jobs.recent()]
    assert states == ["done", "resumed"]
    assert library().documents.list("sample", search="late.txt")[1] == 1


def test_collections_are_made_renamed_and_deleted(page: Page, own_home: Path) -> None:
    test = page("library").run()
    next(b for b in test.button if b.label == "Delete collection").click().run()
    assert test.button(key="delete-make").disabled, "its name must be typed first"
    library().create_collection("Travel")
    [path] = library().documents.upload([("a.txt", io.BytesIO(b"a"))], collection="Travel")
    library().admin.rename_collection("Travel", "Trips")
    test.run()
    assert {"sample", "Trips"} == set(test.selectbox(key="collection").options)
    library().admin.delete_collection("Trips")
    assert not path.parent.exists()
    assert {row.name for row in library().collections()} == {"sample"}


@pytest.mark.usefixtures("home")
def test_models_page_shows_device_licenses_and_memory(page: Page) -> None:
    test = page("models").run()
    assert not test.exception
    assert not test.error
    assert {metric.label for metric in test.metric} >= {"Models run on", "Memory in use"}
    licenses = next(d.value for d in test.dataframe if "License" in d.value.columns)
    assert "minilm-l6-v2" in set(licenses["Model"])
    settings = next(d.value for d in test.dataframe if "Setting" in d.value.columns)
    assert "api_rate" in set(settings["Setting"])


def test_models_page_finds_servers_and_uses_their_models(
    page: Page, own_home: Path, tiny_profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_setting(own_home, "profile", str(tiny_profile))
    monkeypatch.delenv("RAGCORE_PROFILE")
    with model_servers.model_server(model_servers.ollama()) as server:
        monkeypatch.setattr("ragcore.models.local_servers.USUAL_PORTS", (server.port,))
        test = page("models").run()
        assert not server.asked, "nothing is looked for unasked"
        test.button(key="find-servers").click().run()
        test.button(key=f"use-{server.url}-llava:7b").click().run()
        assert not test.exception
        assert not test.error
        parts = next(d.value for d in test.dataframe if "Run by" in d.value.columns)
        assert ("llm", "llava:7b", "ollama") in set(parts.itertuples(index=False, name=None))
        assert "vision llm" not in set(parts["Part"]), "the language model reads images"


def test_models_page_chooses_combines_and_removes_adapters(page: Page, own_home: Path) -> None:
    test = page("models").run()
    assert any("grounded-qa" in str(table.value) for table in test.dataframe)
    box = test.selectbox(key="adapter-of-sample")
    assert box.value == "default"
    box.select("none").run()
    with Library() as library:
        assert library.adapters.used_by("sample") == "none"
        library.adapters.add(library.adapters.inspect("grounded-qa").folder, "mine")
    test = page("models").run()
    assert test.selectbox(key="adapter-of-sample").value == "none"
    test.selectbox(key="adapter-one").select("mine").run()
    test.button(key="adapter-remove").click().run()
    assert not test.exception
    with Library() as library:
        assert [one.name for one in library.adapters.list()] == ["grounded-qa", "grounded-qa-qwen"]
