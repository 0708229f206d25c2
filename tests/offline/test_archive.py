"""An archive is restored as if nothing had happened: kills, bad inputs, a full disk, two commands at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs

import care_live
from care_live.errors import ConfigError, StoreError
from care_live.offline import archive, plan_archive, restore_archive
from care_live.recorded import open_recording
from care_live.store import verify
from care_live.store.fsync import free_bytes
from tests.conftest import need_data
from tests.make.networks import noisy, save_network
from tests.offline.results import N_TIMES, SETTINGS, files, interrupt_after, n_acknowledged


def test_a_folder_becomes_a_folder_of_runs(undisturbed: dict[str, bytes]) -> None:
    runs = {Path(name).parents[1].as_posix() for name in undisturbed if name.endswith("OME/zarr.json")}
    assert runs == set(N_TIMES)
    assert {name for name in undisturbed if "/" not in name} == {"archive.json"}


def test_results_say_what_made_them(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    care_live.restore(data / "three.ome.tif", output, model=model, counts=(90, 400), **SETTINGS)
    run = care_live.open_run(output)
    made = run.summary["restored_with"]
    assert made["network"]["name"] == "net"
    assert made["settings"]["normalise"]["low_counts"] == 90
    assert run.models[0].card["axes"] == "ZYX"
    assert "care_live" in run.summary["versions"]
    assert b'"restored_with"' in (output / "restored/0/zarr.json").read_bytes()
    assert run._repr_html_().startswith("<table>")
    assert verify(output).clean


@pytest.mark.parametrize("n_calls", [1, 4])
def test_interrupted_anywhere_it_goes_on_to_the_same_bytes(
    data: Path,
    model: Path,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_calls: int,
) -> None:
    interrupt_after(n_calls, monkeypatch, data, tmp_path / "out", model=model, **SETTINGS)
    report = care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    assert (report.n_restored, report.n_before, report.problems) == (7 - n_calls, n_calls, [])
    assert files(tmp_path / "out") == undisturbed
    again = care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    assert (again.n_restored, again.n_before) == (0, 7)


def test_a_data_set_that_goes_after_the_plan_was_made_is_listed_and_stops_no_other(
    copied: Path, model: Path, tmp_path: Path
) -> None:
    plan = plan_archive([copied], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    (copied / "a/one.ome.tif").unlink()
    report = restore_archive(plan, care_live.open_network(model, provider="cpu", threads=1), progress=False)
    (problem,) = report.problems
    assert "one.ome.tif" in problem and "was there when the command began" in problem
    assert report.n_restored == N_TIMES["a/two"] + N_TIMES["three"]


def test_another_version_of_the_runtime_is_remarked(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(1, monkeypatch, data / "three.ome.tif", tmp_path / "out", model=model, **SETTINGS)
    monkeypatch.setattr("care_live.offline.run_output.versions", lambda: {"onnxruntime": "99.0"})
    report = care_live.restore(data / "three.ome.tif", tmp_path / "out", model=model, **SETTINGS)
    assert any("goes on with onnxruntime 99.0" in line for line in report.remarks)
    assert report.problems == []


def command(*arguments: object) -> subprocess.Popen[str]:
    full = [sys.executable, "-m", "care_live", "restore", *map(str, arguments), "--provider", "cpu", "--threads", "1"]
    return subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_it_goes_on_to_the_same_bytes(
    data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output, random = tmp_path / "out", np.random.default_rng(time.time_ns())
    for n_wanted in (1, 4):
        process = command(data, output, "--model", model)
        deadline = time.monotonic() + 120
        while n_acknowledged(output) < n_wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    last = command(data, output, "--model", model)
    said = last.communicate(timeout=200)
    assert last.returncode == 0, said
    assert files(output) == undisturbed
    for name in N_TIMES:
        assert verify(output / name).clean


def test_a_second_command_on_the_same_output_is_refused(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore, at_work, go_on = archive.restore_to_run, threading.Event(), threading.Event()

    def held(*args: object, **kwargs: object) -> object:
        at_work.set()
        assert go_on.wait(60)
        return restore(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "restore_to_run", held)
    first = threading.Thread(
        target=care_live.restore, args=(data, tmp_path / "out"), kwargs={"model": model, **SETTINGS}
    )
    first.start()
    try:
        assert at_work.wait(60)
        with pytest.raises(StoreError, match="is being written by"):
            care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    finally:
        go_on.set()
        first.join(120)
    assert n_acknowledged(tmp_path / "out") == 7


@pytest.mark.parametrize("out", ["out", "out.tif"])
def test_results_of_another_network_or_other_settings_are_never_mixed(
    data: Path, model: Path, tmp_path: Path, out: str
) -> None:
    source, target = data / "three.ome.tif", tmp_path / out
    care_live.restore(source, target, model=model, **SETTINGS)
    before = target.read_bytes() if target.is_file() else files(target)
    (tmp_path / "other").mkdir()
    other = save_network(tmp_path / "other/net.onnx", filters=2, seed=2)
    with pytest.raises(ConfigError, match=r"begun with network net .* now net "):
        care_live.restore(source, target, model=other, **SETTINGS)
    with pytest.raises(ConfigError, match=r"settings\.normalise"):
        care_live.restore(source, target, model=model, normalise="per-volume", **SETTINGS)
    assert care_live.restore(source, target, model=model, **SETTINGS).n_before == 2
    assert before == (target.read_bytes() if target.is_file() else files(target))


def test_an_archive_of_another_network_is_refused_before_anything_is_read(
    data: Path, model: Path, tmp_path: Path
) -> None:
    care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    other = save_network(tmp_path / "other.onnx", filters=2, seed=2)
    with pytest.raises(ConfigError, match="results are not mixed"):
        care_live.restore([data / "a", data / "three.ome.tif"], tmp_path / "out", model=other, **SETTINGS)


def test_a_full_disk_ends_the_archive_and_space_lets_it_go_on(
    data: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        n_left = iter(range(4))
        free = lambda path: free_bytes(path) if next(n_left, None) is not None else 0  # noqa: E731
        for module in ("care_live.store.disk", "care_live.store.writer", "care_live.offline.archive"):
            patch.setattr(f"{module}.free_bytes", free)
        report = care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    assert len(report.errors) == 1
    assert "MiB free" in report.problems[0]
    report = care_live.restore(data, tmp_path / "out", model=model, **SETTINGS)
    assert report.problems == []
    assert files(tmp_path / "out") == undisturbed


def test_a_real_plate_stays_a_plate(model: Path, tmp_path: Path) -> None:
    source = need_data("ome_zarr_hcs_plate/single-plane-hcs.zarr")
    flat = save_network(tmp_path / "flat.onnx", ndim=2, filters=2)
    report = care_live.restore(source, tmp_path / "out", model=flat, **SETTINGS)
    assert report.problems == []
    for product in ("raw", "restored", "laplace_scale"):
        yaozarrs.validate_zarr_store(str(tmp_path / "out" / product))
        plate = json.loads((tmp_path / "out" / product / "zarr.json").read_bytes())["attributes"]["ome"]["plate"]
        assert [well["path"] for well in plate["wells"]] == ["E/07", "E/08"]
    image = json.loads((tmp_path / "out/restored/E/07/0/zarr.json").read_bytes())["attributes"]["ome"]
    assert [channel["label"] for channel in image["omero"]["channels"]] == list(
        open_recording(source).contents.plan.channels
    )
    assert verify(tmp_path / "out").clean
    again = care_live.restore(tmp_path / "out", tmp_path / "again", model=flat, **SETTINGS)
    assert (again.n_restored, again.problems) == (report.n_restored, [])
    assert (tmp_path / "again/restored/E/08/0/zarr.json").is_file()


def test_single_planes_and_colour_are_said(model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "data/flat.ome.tif", noisy((16, 18)), ome=True, metadata={"axes": "YX"})
    tifffile.imwrite(tmp_path / "data/rgb.tif", np.zeros((16, 18, 3), np.uint8), photometric="rgb")
    report = care_live.restore(tmp_path / "data", tmp_path / "out", model=model, **SETTINGS)
    assert "1 are single planes, but net was trained on stacks" in report.summary()
    (problem,) = report.problems
    assert "is in colour: 3 samples a pixel; wanted one grey value" in problem


def test_a_folder_of_several_kinds_of_stacks_and_numbers(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from care_live.cli import main

    data, stack = tmp_path / "data", noisy((3, 16, 18))
    data.mkdir()
    tifffile.imwrite(data / "one.tif", stack, photometric="minisblack")
    tifffile.imwrite(data / "movie.tif", np.stack([stack, stack]), photometric="minisblack")
    tifffile.imwrite(data / "of_floats.ome.tif", stack.astype(float), ome=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(data / "of_ints.ome.tif", stack.astype(np.int32), ome=True, metadata={"axes": "ZYX"})
    given = ["restore", str(data), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--axes", "ZYX", "--dry-run"])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "4 data sets, 3 time points" in said
    assert "movie.tif: does not name its 4 axes (2x3x16x18), and ZYX are others: give both, as in ZYX,TZYX" in said
    main([*given, "--axes", "ZYX,TZYX", "--dry-run"])
    assert "axes: TZYX of 1, ZYX of 3" in capsys.readouterr().out
    main([*given, "--axes", "ZYX,TZYX"])
    said = capsys.readouterr()
    assert "5 time points restored" in said.out
    assert said.err.splitlines() == ["float64 pixels are read as float32", "int32 pixels are read as float32"]
    run = care_live.open_run(tmp_path / "out/of_floats")
    assert run.summary["pixels"] == "float64 pixels are read as float32"
    np.testing.assert_array_equal(run.read("raw", run.keys("raw")[0]), stack)
    again = care_live.open_run(tmp_path / "out/of_ints")
    np.testing.assert_array_equal(
        run.read("restored", run.keys("restored")[0]), again.read("restored", again.keys("restored")[0])
    )
