"""Whole runs: frames in, raw and restored volumes out to the store and to a watcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import care_live
from care_live.errors import CareLiveError, ConfigError, ModelError, StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from care_live.worker.client import RestoreProcess
from tests.conftest import need_data
from tests.make.networks import save_network
from tests.make.runs import config, movie, replay, run, settings
from tests.make.scripted import Script, Scripted, frames, plan, scripted_daemon, started
from tests.make.waiting import until
from tests.test_cli import toml

pytestmark = pytest.mark.slow


def test_a_replayed_movie_is_stored_plane_for_plane_and_restored(tmp_path):
    pixels = movie(tmp_path / "movie.tif")
    settings = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    status = run(settings)
    assert (status.phase, status.received_planes, status.lost_planes) == ("finished", pixels.shape[0] * 8, 0)
    assert (status.volumes, status.restored, status.skipped, status.stored_restored) == (6, 6, 0, 6)
    reader = RunReader(tmp_path / "runs" / "test")
    assert all((reader.read("raw", VolumeKey(t)) == pixels[t]).all() for t in range(6))
    assert reader.keys("laplace_scale") == [VolumeKey(t) for t in range(6)]
    assert all(np.isfinite(reader.read("restored", VolumeKey(t))).all() for t in range(6))
    assert verify(tmp_path / "runs" / "test").clean


def test_a_real_time_lapse_arrives_as_a_direct_read_gives_it(tmp_path):
    import tifffile

    path = need_data("cho_3d_timelapse/Fluo-N3DH-CHO_02_img.tif")
    settings = config(tmp_path, replay(path), restore={"policy": "defer"})
    run(settings, meanwhile=lambda daemon: None)
    reader, direct = RunReader(tmp_path / "runs" / "test"), tifffile.imread(path)
    assert reader.keys("raw") == [VolumeKey(t) for t in range(20)]
    assert all((reader.read("raw", VolumeKey(t)) == direct[t]).all() for t in range(20))
    assert reader.keys("restored") == reader.keys("raw")


def test_a_watcher_gets_what_the_store_gets(tmp_path):
    movie(tmp_path / "movie.tif", times=4)
    settings = config(tmp_path, replay(tmp_path / "movie.tif", speed=40.0))
    seen = {}

    def watch() -> None:
        with care_live.subscribe(settings.publish.bind_pull) as volumes:
            assert volumes.next(60) is not None
            is_there.set()
            for volume in volumes:
                seen[volume.key] = volume

    watcher, is_there = threading.Thread(target=watch), threading.Event()
    run(settings, meanwhile=lambda daemon: (watcher.start(), is_there.wait(60)))
    watcher.join(60)
    reader = RunReader(tmp_path / "runs" / "test")
    for key, volume in seen.items():
        np.testing.assert_allclose(volume.mean, reader.read("restored", key), rtol=2**-10)
    assert seen


def test_volumes_that_lag_are_skipped_by_name_and_restored_later(tmp_path):
    movie(tmp_path / "movie.tif", times=12)
    status = run(config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "latest"}))
    assert status.skipped > 0
    assert status.restored == status.volumes == 12
    assert status.restored_late == status.skipped
    assert status.lost_planes == 0


def test_a_killed_inference_process_costs_no_volume(tmp_path, monkeypatch):
    movie(tmp_path / "movie.tif", times=10)
    settings = config(tmp_path, replay(tmp_path / "movie.tif", speed=40.0))
    restore, killed = RestoreProcess.restore, []

    def restore_and_kill(process, volumes, **others):
        restored = restore(process, volumes, **others)
        if not killed:
            killed.append(process.supervisor.process_id)
            os.kill(killed[0], signal.SIGKILL)
        return restored

    monkeypatch.setattr(RestoreProcess, "restore", restore_and_kill)
    status = run(settings)
    assert status.restarts == 1
    assert status.lost_planes == 0
    assert RunReader(tmp_path / "runs" / "test").raw_only() == []
    assert verify(tmp_path / "runs" / "test").clean


def test_draining_keeps_what_came_and_a_second_run_goes_on(tmp_path):
    pixels = movie(tmp_path / "movie.tif", times=8)
    settings = config(tmp_path, replay(tmp_path / "movie.tif", speed=5.0), restore={"policy": "defer"})

    def drain(daemon):
        until(lambda: daemon.status().stored_raw, 120)
        daemon.drain()

    first = run(settings, meanwhile=lambda daemon: threading.Thread(target=drain, args=(daemon,)).start())
    stored = RunReader(tmp_path / "runs" / "test").keys("raw")
    assert 0 < len(stored) < 8
    assert first.restored == 0
    again = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"})
    second = run(again)
    reader = RunReader(tmp_path / "runs" / "test")
    assert second.restored == 8
    assert reader.keys("restored") == [VolumeKey(t) for t in range(8)]
    for t in range(8):  # one was cut short by the drain: what came of it is kept, what did not is named
        volume = reader.read_raw(VolumeKey(t))
        received = list(volume.integrity.received)
        assert (volume.pixels[received] == pixels[t][received]).all()
        assert len(received) + len(volume.integrity.missing) == 8
    n_cut = sum(bool(reader.read_raw(VolumeKey(t)).integrity.missing) for t in range(8))
    assert second.incomplete_before == n_cut, (
        "the second session had all planes that it asked for, but the run lacks some"
    )
    assert bool(second.shortfalls) == bool(n_cut)
    assert verify(tmp_path / "runs" / "test").clean


@pytest.mark.skipif(os.name == "nt", reason="console signals go to the whole group there")
@pytest.mark.parametrize(
    ("name", "n_signals"), [("SIGINT", 1), ("SIGINT", 2), ("SIGHUP", 1)], ids=["drains", "stops", "terminal-closed"]
)
def test_ctrl_c(tmp_path, name, n_signals):
    movie(tmp_path / "movie.tif", times=200)
    tree = settings(tmp_path, replay(tmp_path / "movie.tif", speed=40.0), restore={"policy": "latest"})
    (tmp_path / "config.toml").write_text(toml(tree))
    command = [sys.executable, "-m", "care_live", "run", "config.toml", "--run-id", "test", "--json", "status.json"]
    daemon = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with daemon:
        assert any("volume restored" in line for line in daemon.stderr)
        if name == "SIGHUP":
            daemon.stdout.close()  # what the daemon prints goes nowhere from here on
        for _ in range(n_signals):
            daemon.send_signal(getattr(signal, name))
        said = daemon.stderr.read()
        assert daemon.wait(120) == 0, said
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["phase"] == "finished"
    assert status["stored_raw"] == status["volumes"] < 200
    if n_signals == 1:
        assert status["stored_restored"] == status["restored"]
    assert verify(tmp_path / "runs" / "test").clean


def test_a_second_daemon_on_the_same_run_is_refused(tmp_path):
    movie(tmp_path / "movie.tif", times=4)
    settings = config(tmp_path, replay(tmp_path / "movie.tif", speed=20.0), restore={"policy": "defer"})
    refused: list[CareLiveError] = []

    def another(daemon):
        try:
            run(config(tmp_path, replay(tmp_path / "movie.tif"), restore={"policy": "wait"}))
        except StoreError as error:
            refused.append(error)

    run(settings, meanwhile=another)
    assert len(refused) == 1


def test_another_network_takes_over_between_two_volumes(tmp_path, monkeypatch):
    n_volumes = 2000
    other = save_network(tmp_path / "other.onnx", seed=2)

    def script() -> Script:
        """Give volumes, one after the other, until the other network has restored some."""
        keys = [VolumeKey(t) for t in range(n_volumes)]
        yield started(plan(keys))
        n_taken_over = 0
        for key in keys:
            yield from frames(key)
            while daemon.status().restored <= key.t:
                yield None
            yield from [None] * 20  # a tenth of a second: the other network takes some to start
            if key.t == 0:
                with pytest.raises(ConfigError, match=r"none\.onnx"):
                    daemon.swap({"model": "none.onnx"})
                daemon.swap({"model": str(other)})
            n_taken_over += daemon.status().swap.startswith("took over")
            if n_taken_over == 3:
                return

    daemon, _ = scripted_daemon(tmp_path, Scripted(script()), monkeypatch)
    status = daemon.run()
    reader = RunReader(tmp_path / "runs" / "test")
    names = {reader.restoration(key).model.name for key in reader.keys("restored")}
    assert status.model == "other", status.swap
    assert status.swap.startswith("took over"), status.swap
    assert names == {"tiny", "other"}
    assert {noted.name for noted in reader.models} == names
    assert 3 < status.restored == status.stored_raw < n_volumes


def test_a_model_for_other_data_is_refused_before_the_first_frame(tmp_path):
    movie(tmp_path / "movie.tif", times=2)
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    settings = config(tmp_path, replay(tmp_path / "movie.tif"), restore={"model": str(tmp_path / "broken.onnx")})
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        run(settings)
    assert not (tmp_path / "runs" / "test").exists()
