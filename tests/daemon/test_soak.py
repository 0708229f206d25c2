"""tools/soak.py: what it samples is there, and growth is told."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("soak")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_short_one_samples_daemon_inference_and_watcher(soak: ModuleType, tmp_path: Path) -> None:
    samples = soak.soak(tmp_path, volumes=40, every=10)
    assert [sample.volumes // 10 for sample in samples][:3] == [1, 2, 3]
    for sample in samples:
        assert min(sample.daemon_mib, sample.inference_mib, sample.watcher_mib) > 20
        assert sample.threads >= 3
    assert sum(1 for _ in (tmp_path / "runs" / "soak").glob("restored/0/0/c/*")) == 40


@pytest.mark.parametrize(
    ("grows", "said"),
    [
        ({}, None),
        ({"daemon_mib": 1.0}, "daemon_mib grew"),
        ({"watcher_mib": 1.0}, "watcher_mib grew"),
        ({"files": 1}, "files grew"),
        ({"threads": 1}, "threads grew"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_growth_is_told(soak: ModuleType, grows: dict[str, float], said: str | None) -> None:
    still = {"daemon_mib": 50.0, "inference_mib": 80.0, "watcher_mib": 40.0, "files": 60, "threads": 20}
    samples = [
        soak.Sample(volumes=10 * i, **{name: value + i * grows.get(name, 0) for name, value in still.items()})
        for i in range(16)
    ]
    verdict = soak.verdict(samples)
    assert verdict is None if said is None else said in verdict


def test_too_few_samples_say_nothing(soak: ModuleType) -> None:
    assert "only 0 samples" in soak.verdict([])
