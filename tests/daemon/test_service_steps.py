"""The steps of an install."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.daemon.service_steps import RemoveFile, take
from care_live.errors import ConfigError


def test_a_file_that_cannot_be_removed_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot remove"):
        take([RemoveFile(tmp_path)])  # a folder
