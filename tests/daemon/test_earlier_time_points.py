"""Networks that read earlier time points: live, resumed and offline they get the same ones, of their own position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import care_live
from care_live.config import RestoreConfig
from care_live.daemon.run import Daemon
from care_live.images import RunEnded, Volume, VolumeKey
from care_live.restore import past
from care_live.restore.engine import Engine
from care_live.store import RunReader
from tests.make import records
from tests.make.networks import save_network
from tests.make.scripted import Script, Scripted, frames, pixels_of, plan, scripted_daemon, started

pytestmark = pytest.mark.slow
SHAPE = (8, 32, 40)
RANGES = {"mode": "fixed", "low_counts": 90, "high_counts": 900}
PAST = 2


def raw(key: VolumeKey) -> Volume:
    return records.volume(pixels_of(key, SHAPE), key)


def wanted(model: Path, keys: list[VolumeKey]) -> dict[VolumeKey, tuple[tuple[VolumeKey, ...], np.ndarray]]:
    """Return, of each volume, which earlier ones the network reads, and the mean: from all that were recorded."""
    engine, there = Engine(model, restoring(model)), {key: raw(key) for key in keys}
    found = {}
    for key in keys:
        (restored,) = engine.restore(past.completed([there[key]], PAST, there))
        found[key] = (restored.earlier, restored.mean)
    return found


def restoring(model: Path) -> RestoreConfig:
    return RestoreConfig.model_validate({"model": model, "provider": "cpu", "threads": 1, "normalise": RANGES})


def same(run: Path, expected: dict[VolumeKey, tuple[tuple[VolumeKey, ...], np.ndarray]]) -> RunReader:
    reader = RunReader(run)
    assert sorted(reader.keys("restored")) == sorted(expected)
    for key, (earlier, mean) in expected.items():
        assert reader.restoration(key).earlier == earlier, tuple(key)
        assert np.abs(reader.read("restored", key) - mean).max() < 2**-8 * 810, tuple(key)
    return reader


@pytest.mark.parametrize("streaming", ["on", "off"])
@pytest.mark.parametrize("ndim", [3, 2])
@pytest.mark.parametrize("workers", [1, 2])
def test_positions_with_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: str, ndim: int, workers: int
) -> None:
    """Time point 2 of position 1 never comes."""
    model = save_network(tmp_path / "past.onnx", past=PAST, ndim=ndim, depth=1)
    keys = [VolumeKey(t, p) for t in range(5) for p in range(2)]
    coming = [key for key in keys if key != VolumeKey(2, 1)]

    def script() -> Script:
        yield started(plan(coming, SHAPE))
        for n, key in enumerate(coming, 1):
            yield from frames(key, shape=SHAPE)
            while daemon.status().restored < n:
                yield None

    restore = {"model": str(model), "streaming": streaming, "normalise": RANGES, "workers": workers}
    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, restore=restore)
    status = daemon.run()
    assert (status.restored, status.failed) == (len(coming), 0)
    expected = wanted(model, coming)
    reader = same(tmp_path / "runs" / "test", expected)
    assert expected[VolumeKey(3, 1)][0] == (VolumeKey(1, 1),)  # the present stands in for 2
    if streaming == "on":
        kinds = {key: reader.restoration(key).choice for key in coming}
        assert kinds[VolumeKey(4, 0)].kind == "stream", kinds[VolumeKey(4, 0)]
        assert kinds[VolumeKey(3, 1)].reason == "past-unknown"


def test_volumes_that_are_skipped_live_are_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is restored later from the store reads what it would have read live."""
    model = save_network(tmp_path / "past.onnx", past=PAST)
    keys = [VolumeKey(t, p) for t in range(8) for p in range(2)]

    def script() -> Script:
        yield started(plan(keys, SHAPE))
        for key in keys:
            yield from frames(key, shape=SHAPE)

    restore = {"model": str(model), "normalise": RANGES, "policy": "defer"}
    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, restore=restore, assemble={"memory_mib": 1})
    status = daemon.run()
    assert (status.restored, status.failed) == (len(keys), 0)
    same(tmp_path / "runs" / "test", wanted(model, keys))


def test_a_resumed_run_begins_with_the_past_that_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_network(tmp_path / "past.onnx", past=PAST)
    keys = [VolumeKey(t) for t in range(6)]
    restore = {"model": str(model), "normalise": RANGES}

    def script(coming: list[VolumeKey], ended: RunEnded) -> Script:
        yield started(plan(keys, SHAPE))
        for key in coming:
            yield from frames(key, shape=SHAPE)
        yield ended

    for coming, ended in ((keys[:3], RunEnded("aborted")), (keys[3:], RunEnded("finished"))):
        source = Scripted(script(coming, ended))
        _, settings = scripted_daemon(tmp_path, source, monkeypatch, restore=restore)
        assert Daemon(settings.model_copy(update={"resume": True}), "test").run().failed == 0
    same(tmp_path / "runs" / "test", wanted(model, keys))


def test_offline_reads_what_live_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_network(tmp_path / "past.onnx", past=PAST)
    keys = [VolumeKey(t, p) for p in range(2) for t in range(4)]

    def script() -> Script:
        yield started(plan(keys, SHAPE))
        for key in keys:
            yield from frames(key, shape=SHAPE)

    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, restore={"policy": "defer"})
    daemon.run()
    out = tmp_path / "again"
    report = care_live.restore(tmp_path / "runs" / "test", out, model=model, counts=(90, 900), progress=False)
    assert report.is_complete
    same(out, wanted(model, keys))


@pytest.mark.parametrize("streaming", ["on", "off"])
def test_networks_that_look_back_differently_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: str
) -> None:
    """Each reads all that it looks back to, from its first volume on; that one is half recorded when it takes over."""
    models = {name: save_network(tmp_path / f"{name}.onnx", past=n) for name, n in (("no", 0), ("two", 2), ("one", 1))}
    keys, sent = [VolumeKey(t) for t in range(4000)], []

    def script() -> Script:
        yield started(plan(keys, SHAPE))
        following, running, n_with_it = ["two", "one", "no"], "no", 0
        for key in keys:
            yield from frames(key, 3, shape=SHAPE)
            while daemon.status().restored < key.t:
                yield None
            n_with_it += daemon.status().model == running
            if n_with_it == 3 and following:
                n_with_it, running = 0, following.pop(0)
                daemon.swap({"model": str(models[running]), "even_if_slow": True})
            yield from [None] * 10
            yield from frames(key, first=3, shape=SHAPE)
            sent.append(key)
            if n_with_it == 3:
                return

    restore = {"model": str(models["no"]), "streaming": streaming, "normalise": RANGES}
    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch, restore=restore)
    status = daemon.run()
    assert (status.restored, status.failed, status.model) == (len(sent), 0, "no")
    reader = RunReader(tmp_path / "runs" / "test")
    made_by = {key: reader.restoration(key).model.name for key in sent}
    assert set(made_by.values()) == set(models)
    engines, there = {name: Engine(path, restoring(path)) for name, path in models.items()}, {k: raw(k) for k in sent}
    for key, name in made_by.items():
        (restored,) = engines[name].restore(past.completed([there[key]], engines[name].card.past, there))
        assert reader.restoration(key).earlier == restored.earlier, (tuple(key), name)
        assert np.abs(reader.read("restored", key) - restored.mean).max() < 2**-8 * 810, (tuple(key), name)
