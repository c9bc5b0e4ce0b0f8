"""The page Models: profiles, what they need, fetching them and changing to one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ragcore_app.components import downloads
from ragcore_app.state import library
from streamlit.testing.v1 import AppTest

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
    done = downloads.start(library(), str(own_home), os.environ["RAGCORE_PROFILE"])
    done.wait(120)
    assert not done.running
    assert done.error == ""
    assert downloads.latest(str(own_home)) is done
    wrong = downloads.start(library(), str(own_home), "no-such-profile")
    wrong.wait(120)
    assert "no-such-profile" in wrong.error
