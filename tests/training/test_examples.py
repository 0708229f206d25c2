"""Examples are drawn from volumes that are large enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.errors import TrainingError
from care_live.training.examples import Data
from care_live.training.fit import fit
from tests.training.conftest import small_recipe


def test_a_patch_larger_than_a_volume_names_it(tmp_path: Path, small_data: Data) -> None:
    with pytest.raises(TrainingError, match="blobs-0 is"):
        fit(small_recipe(tmp_path, fit={"patch_px": [4, 64, 64]}), small_data, tmp_path / "run")
