"""tools/soak.py: what it samples is there, what is lost is reported, and growth too."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from care_live.images import VolumeKey, read_only
from care_live.store import RunReader
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_one_samples_and_checks_every_volume(tools: None, tmp_path: Path) -> None:
    soak = importlib.import_module("soak")
    outcome = soak.soak(tmp_path, volumes=45, every=10, rate_hz=9.0, seed=3, pause_s=0.3)
    assert outcome.complaints == []
    assert outcome.troubles
    assert len(outcome.samples) >= 2
    for number, sample in enumerate(outcome.samples, 1):
        assert sample.volumes >= 10 * number
        assert min(sample.daemon_mib, sample.watcher_mib) > 20
        assert sample.threads >= 3
    assert max(sample.inference_mib for sample in outcome.samples) > 20, "the new one is small at first"


@pytest.mark.slow
def test_what_is_lost_or_wrong_is_reported(tools: None, tmp_path: Path) -> None:
    soak, camera = importlib.import_module("soak"), importlib.import_module("soaking.camera")
    writer = open_writer(tmp_path, make_plan(n_t=4, shape=camera.SHAPE, endless=True))
    for t, pixels in enumerate((camera.volume(0), camera.volume(7))):
        writer.write_raw(make_volume(VolumeKey(t), camera.SHAPE, pixels=read_only(pixels)))
    writer.write_restored(make_restored(RunReader(writer.path).read_raw(VolumeKey(0))))
    writer.close()
    complaints = "\n".join(soak.complaints_about(tmp_path / "run", 4))
    assert "2 of 4 raw volumes are lost" in complaints
    assert "1 volumes were never restored" in complaints
    assert "1 raw volumes are not what the camera saw, the first (1, 0, 0)" in complaints


@pytest.mark.parametrize(
    ("grows", "said"),
    [
        ({}, None),
        ({"daemon_mib": 1.0}, "daemon_mib grew"),
        ({"watcher_mib": 1.0}, "watcher_mib grew"),
        ({"files": 2}, "files grew"),
        ({"threads": 2}, "threads grew"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_growth_is_reported(tools: None, grows: dict[str, float], said: str | None) -> None:
    samples_ = importlib.import_module("soaking.samples")
    still = {"daemon_mib": 50.0, "inference_mib": 80.0, "watcher_mib": 40.0, "files": 60, "threads": 20}
    samples = [
        samples_.Sample(volumes=10 * i, **{name: value + i * grows.get(name, 0) for name, value in still.items()})
        for i in range(16)
    ]
    verdict = samples_.growth(samples)
    assert verdict is None if said is None else said in verdict


def test_too_few_samples_say_nothing(tools: None) -> None:
    assert "only 0 samples" in importlib.import_module("soaking.samples").growth([])
