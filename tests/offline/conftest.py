"""An archive of three data sets, and what restoring it gives when nothing disturbs that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

import care_live
from tests.make.networks import noisy, save_network
from tests.offline.results import N_TIMES, SETTINGS, files


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of OME-TIFFs, at two depths."""
    folder = tmp_path_factory.mktemp("archive") / "data"
    for number, (name, n_times) in enumerate(N_TIMES.items()):
        path = folder / f"{name}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (3, 64, 66) if name == "a/two" else (3, 16, 18)  # the first ones are large enough for a map of evidence
        movie = np.stack([noisy(shape, seed=10 * number + t) * (t + 1) for t in range(n_times)])
        tifffile.imwrite(path, movie, ome=True, metadata={"axes": "TZYX"})
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of a result that nothing disturbed."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    report = care_live.restore(data, output, model=model, **SETTINGS)
    assert (report.n_restored, report.n_before, report.problems) == (7, 0, [])
    return files(output)


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the archive that may be damaged."""
    for name in N_TIMES:
        path = tmp_path / "data" / f"{name}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((data / f"{name}.ome.tif").read_bytes())
    yield tmp_path / "data"
