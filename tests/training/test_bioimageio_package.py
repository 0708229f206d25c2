"""A package for the BioImage Model Zoo."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from care_live.errors import ModelError
from care_live.model import file
from tests.make.networks import save_network


@pytest.mark.slow
def test_a_bioimageio_package_passes_its_own_test(tmp_path: Path) -> None:
    pytest.importorskip("bioimageio.core")
    from care_live.training.bioimageio_package import write_package

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_package(file.shipped(), tmp_path / "worm.zip")  # runs bioimageio.core's test
    assert (tmp_path / "worm.zip").stat().st_size > 10_000


def test_a_network_that_reads_earlier_time_points_is_refused(tmp_path: Path) -> None:
    """Each channel of a package has a range of its own; the earlier ones are in that of the present."""
    pytest.importorskip("bioimageio.core")
    from care_live.training.bioimageio_package import write_package

    model = save_network(tmp_path / "net.onnx", past=2)
    with pytest.raises(ModelError, match="earlier time points"):
        write_package(model, tmp_path / "net.zip")
    assert list(tmp_path.iterdir()) == [model]
