"""The page Models: profiles, what they need, fetching them and changing to one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ragcore_app.components import background
from ragcore_app.state import library
from ragcore_app.views import models_compare, models_profiles
from streamlit.testing.v1 import AppTest

from ragcore.errors import UsageError

Page = Callable[..., AppTest]


@pytest.mark.usefixtures("home")
def test_each_profile_says_what_it_brings_and_needs(page: Page) -> None:
    test = page("models").run()
    assert not test.exception
    said = [one.value for one in test.caption if one.value.startswith("Brings ")]
    assert len(said) >= 4
    assert "answers" in said[0]
    assert "all are here" in said[0], "the models of the tests are folders of this computer"
    assert any("are to be downloaded" in one for one in said)
    assert {"profile-use-starter", "profile-use-large"} <= {str(b.key) for b in test.button}


@pytest.mark.usefixtures("home")
def test_a_profile_that_the_environment_overrides_is_not_stored(page: Page) -> None:
    test = page("models").run()
    test.button(key="profile-use-starter").click().run()
    assert not test.exception
    assert "overrides the stored profile" in test.error[0].value


def test_a_download_ends_and_says_what_went_wrong(own_home: Path) -> None:
    done = models_profiles.download(library(), str(own_home), os.environ["RAGCORE_PROFILE"])
    done.wait(120)
    assert not done.running
    assert done.error == ""
    assert background.latest(str(own_home), "download") is done
    wrong = models_profiles.download(library(), str(own_home), "no-such-profile")
    wrong.wait(120)
    assert "no-such-profile" in wrong.error


def test_profiles_are_compared_on_questions(page: Page, own_home: Path) -> None:
    test = page("models", collection="sample").run()
    assert not test.exception
    questions = ["Are we allowed to play table games during working hours?", "Who waters the fern?"]
    offers = library().models.offers()
    work = models_compare.start(str(own_home), "sample", questions, [offers[0].name], offers)
    work.wait(240)
    assert work.error == ""
    asked, [found] = work.result
    assert asked == questions
    assert found.error == ""
    assert len(found.answers) == 2
    assert found.seconds > 0
    assert found.passages > 0
    assert found.documents > 3
    shown = page("models", collection="sample").run()
    assert not shown.exception
    assert any("passages a second" in one.value for one in shown.caption)
    assert len(shown.table[0].value) == 2


def test_what_cannot_be_compared_is_one_sentence(own_home: Path) -> None:
    evals = library().evals
    for profiles, questions, message in (
        (["starter"], [" "], "give 1 to 50 questions"),
        ([], ["Why?"], "name the profiles"),
        (["no-such-profile"], ["Why?"], "no-such-profile"),
    ):
        with pytest.raises(UsageError, match=message):
            evals.profiles(profiles, questions, collection="sample")
