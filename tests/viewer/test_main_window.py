"""``care-live view --napari`` opens a real window, which ends its threads when it is closed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from care_live.errors import ConfigError
from care_live.viewer.napari.main_window import watch
from tests.viewer.real_window import play


def test_without_napari_its_user_learns_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(ConfigError, match=r"napari is not installed .*pip install 'care-live\[napari\]'"):
        watch("tcp://127.0.0.1:1")


@pytest.mark.slow
def test_the_command_shows_a_daemon_that_asks_for_keys(tmp_path: Path) -> None:
    play("command", tmp_path)
