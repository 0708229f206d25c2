"""One recording restored into a run: with or without raw, again with what is corrected, never with what changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

import care_live
from care_live.errors import ConfigError
from care_live.store import RunReader, verify
from tests.make.networks import noisy
from tests.offline.results import SETTINGS, cut_off_the_end, files


def test_settings_with_which_nothing_was_restored_may_be_corrected(model: Path, tmp_path: Path) -> None:
    """A folder of plain stacks asks for its axes: the same command with them goes on."""
    for name in "ab":
        tifffile.imwrite(tmp_path / f"in-{name}.tif", noisy((4, 16, 18), seed=1), photometric="minisblack")
    inputs = sorted(tmp_path.glob("in-*.tif"))
    report = care_live.restore(inputs, tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored == 0
    assert all("axes, such as ZYX" in line for line in report.problems)
    report = care_live.restore(inputs, tmp_path / "out", model=model, axes="ZYX", **SETTINGS)
    assert (report.n_restored, report.problems) == (2, [])
    with pytest.raises(ConfigError, match="results are not mixed"):
        care_live.restore(inputs, tmp_path / "out", model=model, axes="TYX", **SETTINGS)


def test_an_input_that_changed_since_is_an_error(copied: Path, model: Path, tmp_path: Path) -> None:
    care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    tifffile.imwrite(copied / "three.ome.tif", noisy((2, 3, 16, 18), seed=99), ome=True, metadata={"axes": "TZYX"})
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert len(report.problems) == 1
    assert "has changed since" in report.problems[0]


def test_without_raw_volumes_only_what_was_restored_is_stored(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    care_live.restore(data / "three.ome.tif", output, model=model, keep_raw=False, **SETTINGS)
    run = RunReader(output)
    assert not (output / "raw").exists()
    assert [run.state(key, "restored") for key in run.keys("restored")] == ["confirmed", "confirmed"]
    assert verify(output).clean
    assert care_live.restore(data / "three.ome.tif", output, model=model, keep_raw=False, **SETTINGS).n_before == 2


def test_a_kill_behind_the_last_time_point_leaves_only_the_end_to_be_written(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network computes anything then: neither its provider nor its version matters."""
    output = tmp_path / "out"
    care_live.restore(data / "three.ome.tif", output, model=model, **SETTINGS)
    whole = files(output)
    cut_off_the_end(output)
    monkeypatch.setattr("care_live.offline.run_output.versions", lambda: {"onnxruntime": "99.0"})
    monkeypatch.setattr("care_live.restore.engine.precision_of", lambda _: "bf16")
    again = care_live.restore(data / "three.ome.tif", output, model=model, **SETTINGS)
    assert (again.n_restored, again.n_before, again.problems, again.remarks) == (0, 2, [], [])
    ended = RunReader(output).ended
    assert ended is not None
    assert not ended.restoring
    assert files(output) == whole
    assert verify(output).clean
