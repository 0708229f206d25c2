"""An archive is restored as if nothing had happened: kills, bad inputs, a full disk, two commands at once."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs

import care_live
from care_live.errors import ConfigError, StoreError
from care_live.offline import archive, estimate, open_network
from care_live.offline.data_sets import plan_archive
from care_live.recorded import open_recording
from care_live.store import RunReader, RunWriter, verify
from care_live.store.fsync import free_bytes
from tests.conftest import need_data
from tests.make.networks import noisy, save_network
from tests.offline.results import files, n_acknowledged

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
N_TIMES = {"a/one": 3, "a/two": 2, "three": 2}
"""Data sets of the archive, and their time points."""


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


def interrupt_after(n_calls: int, monkeypatch: pytest.MonkeyPatch, *arguments: Path, **settings: object) -> None:
    """Begin a restoration that a person interrupts."""
    write, left = RunWriter.write_restored, iter(range(n_calls))

    def interrupted(self: RunWriter, *args: object, **kwargs: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write(self, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "write_restored", interrupted)
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(*arguments, **settings)  # type: ignore[arg-type]


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


def test_another_version_of_the_runtime_is_remarked(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(1, monkeypatch, data / "three.ome.tif", tmp_path / "out", model=model, **SETTINGS)
    monkeypatch.setattr("care_live.offline.provenance.versions", lambda: {"onnxruntime": "99.0"})
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


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the archive that may be damaged."""
    for name in N_TIMES:
        path = tmp_path / "data" / f"{name}.ome.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((data / f"{name}.ome.tif").read_bytes())
    yield tmp_path / "data"


def test_bad_inputs_are_listed_and_do_not_stop_the_others(
    copied: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    cut = copied / "a/one.ome.tif"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    (copied / "b.tif").write_text("no image")
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored == 4
    assert [line.split(":")[0] for line in report.problems] == [str(cut), str(copied / "b.tif")]
    cut.write_bytes(whole)
    (copied / "b.tif").unlink()
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert (report.n_restored, report.n_before, report.problems) == (3, 4, [])
    assert {name: content for name, content in files(tmp_path / "out").items() if "/c/" in name} == {
        name: content for name, content in undisturbed.items() if "/c/" in name
    }


def test_an_input_that_changed_since_is_an_error(copied: Path, model: Path, tmp_path: Path) -> None:
    care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    tifffile.imwrite(copied / "three.ome.tif", noisy((2, 3, 16, 18), seed=99), ome=True, metadata={"axes": "TZYX"})
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert len(report.problems) == 1
    assert "has changed since" in report.problems[0]


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


def test_without_raw_volumes_only_what_was_restored_is_stored(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    care_live.restore(data / "three.ome.tif", output, model=model, keep_raw=False, **SETTINGS)
    run = RunReader(output)
    assert not (output / "raw").exists()
    assert [run.state(key, "restored") for key in run.keys("restored")] == ["confirmed", "confirmed"]
    assert verify(output).clean
    assert care_live.restore(data / "three.ome.tif", output, model=model, keep_raw=False, **SETTINGS).n_before == 2


def test_several_results_may_be_tiffs(data: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for n_before in (0, 7):
        report = care_live.restore(data, output, model=model, as_tiff=True, **SETTINGS)
        assert (report.n_before, report.problems) == (n_before, [])
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.tif"))
    assert found == [f"{name}.ome.tif" for name in sorted(N_TIMES)]
    assert tifffile.imread(output / "three.ome.tif").shape == (2, 2, 3, 16, 18)
    assert not list(output.rglob(".*"))


def test_patterns_name_results_from_their_wildcard_on(data: Path, model: Path, tmp_path: Path) -> None:
    report = care_live.restore(str(data / "*/o*.tif"), tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored == 3
    assert (tmp_path / "out/a/one/journal.jsonl").is_file()


@pytest.mark.parametrize(
    ("inputs", "out", "said"),
    [
        (["none"], "out", "no data set at"),
        (["*.nd2"], "out", "no data set at"),
        (["a/one.ome.tif", "twin/one.tif"], "out", "would both become one"),
        (["."], "a/out", "or lies inside it: write somewhere else"),
        (["."], ".", "is the input"),
        (["a", "three.ome.tif"], "three.ome.tif", "is a file, but several"),
        (["three.ome.tif"], "out.png", "would be no .png: end its name with .tif"),
    ],
    ids=["absent", "pattern", "twins", "inside", "itself", "file", "picture"],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    copied: Path, model: Path, inputs: list[str], out: str, said: str
) -> None:
    (copied / "twin").mkdir()
    (copied / "twin/one.tif").write_bytes((copied / "three.ome.tif").read_bytes())
    before = sorted(copied.rglob("*"))
    with pytest.raises(ConfigError, match=said):
        care_live.restore([copied / one for one in inputs], copied / out, model=model, **SETTINGS)
    assert sorted(copied.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators only")
def test_links_in_a_circle_are_not_followed_and_an_unreadable_folder_is_one_problem(
    copied: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "a/again").symlink_to(copied)
    (copied / "itself").symlink_to(copied / "itself")
    locked = copied / "lost+found"
    locked.mkdir()
    look = os.scandir

    def refuses(folder: str | Path) -> object:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuses)
    plan = plan_archive([copied], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    (problem,) = [entry for entry in plan.entries if "Permission denied" in entry.error]
    assert problem.data_set.path == locked
    names = [entry.data_set.name.as_posix() for entry in plan.entries if entry is not problem]
    assert names and not any("again" in name or "itself" in name for name in names)


@pytest.mark.parametrize("as_tiff", [False, True], ids=["runs", "TIFFs"])
def test_a_dry_run_of_an_interrupted_archive_says_how_many_are_done(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_tiff: bool
) -> None:
    network = open_network(model, provider="cpu", threads=1)
    plan = plan_archive([data], tmp_path / "out", axes=None, keep_raw=True, as_tiff=as_tiff)
    whole = estimate(plan, network)
    assert whole.n_before == 0 and whole.lines()[0] == "3 data sets, 7 time points"
    interrupt_after(4, monkeypatch, data, tmp_path / "out", model=model, as_tiff=as_tiff, **SETTINGS)
    left = estimate(plan, network)
    assert left.lines()[0] == "3 data sets, 7 time points, 4 of which are restored already"
    assert 0 < left.n_bytes < whole.n_bytes
    care_live.restore(data, tmp_path / "out", model=model, as_tiff=as_tiff, **SETTINGS)
    done = estimate(plan, network)
    assert (done.n_before, done.seconds, done.n_bytes) == (7, 0.0, 0)


def test_a_dry_run_says_units_time_and_disk_and_writes_nothing(
    copied: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from care_live.cli import main

    (copied / "flat.tif").write_bytes(b"no image")
    with pytest.raises(SystemExit, match="1"):
        main(["restore", str(copied), str(tmp_path / "out"), "--model", str(model), "--provider", "cpu", "--dry-run"])
    said = capsys.readouterr().out
    assert re.match(r"4 data sets, 7 time points\nabout \d+ s on this machine", said)
    assert "MiB are free" in said
    assert f"cannot be opened: {copied / 'flat.tif'}" in said
    assert not (tmp_path / "out").exists()


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
