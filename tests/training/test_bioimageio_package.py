"""A package for the BioImage Model Zoo."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from care_live.model import file


@pytest.mark.slow
def test_a_bioimageio_package_passes_its_own_test(tmp_path: Path) -> None:
    pytest.importorskip("bioimageio.core")
    from care_live.training.bioimageio_package import write_package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_package(file.shipped(), tmp_path / "worm.zip")  # runs bioimageio.core's test
    assert (tmp_path / "worm.zip").stat().st_size > 10_000
