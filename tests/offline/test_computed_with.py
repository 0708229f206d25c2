"""A result goes on with what computed its first part, or says why not."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest

import care_live
from care_live.errors import ConfigError
from care_live.offline import computed_with
from tests.offline.results import SETTINGS, files, interrupt_after


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs the [openvino] extra")
@pytest.mark.parametrize(
    ("source", "first", "provider"),
    [("a", (2.0, 1.0), "openvino"), ("three.ome.tif", (1.0, 2.0), "cpu")],
    ids=["archive", "one"],
)
def test_what_was_the_quickest_at_first_goes_on(
    data: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    first: tuple[float, float],
    provider: str,
) -> None:
    settings = {**SETTINGS, "provider": "auto", "model": model}

    def measured(seconds: tuple[float, float]) -> None:
        of_each = itertools.cycle(seconds)  # onnxruntime, then OpenVINO
        monkeypatch.setattr("care_live.restore.probe.seconds", lambda *_: next(of_each))

    measured(first)
    care_live.restore(data / source, tmp_path / "whole", **settings)
    interrupt_after(1, monkeypatch, data / source, tmp_path / "out", **settings)
    measured(first[::-1])
    report = care_live.restore(data / source, tmp_path / "out", **settings)
    assert (report.n_before, report.problems) == (1, [])
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    run = tmp_path / "out" / ("two" if source == "a" else "")
    assert care_live.open_run(run).summary["computed_with"] == {"provider": provider, "precision": "f32"}


@pytest.mark.parametrize("source", [".", "three.ome.tif"], ids=["archive", "one"])
def test_another_precision_than_at_first_is_refused(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    interrupt_after(1, monkeypatch, data / source, tmp_path / "out", model=model, **SETTINGS)
    before = files(tmp_path / "out")
    monkeypatch.setattr("care_live.restore.engine.precision_of", lambda _: "bf16")
    with pytest.raises(ConfigError, match=r"begun with provider cpu in f32.* computes with provider cpu in bf16"):
        care_live.restore(data / source, tmp_path / "out", model=model, **SETTINGS)
    assert files(tmp_path / "out") == before


def test_a_provider_that_is_not_there_any_more_is_said(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "provider": "auto", "model": model}
    interrupt_after(1, monkeypatch, data / "three.ome.tif", tmp_path / "out", **settings)

    def absent(_: object) -> object:
        raise ConfigError("the provider's libraries are not installed")

    monkeypatch.setattr("care_live.restore.select.opener", absent)
    with pytest.raises(ConfigError, match=r"begun with provider .* are not installed.* Go on on the machine"):
        care_live.restore(data / "three.ome.tif", tmp_path / "out", **settings)


def test_another_runtime_is_no_reason_to_stop_but_is_said() -> None:
    record = {"versions": computed_with.versions()}
    assert computed_with.other_versions(record) == []
    record["versions"] = {**record["versions"], "onnxruntime": "0.1"}
    (line,) = computed_with.other_versions(record)
    assert line.startswith("begun with onnxruntime 0.1, goes on with onnxruntime ")
