"""Verify finds every change of what was stored, and the command says so."""

from __future__ import annotations

import json

import numpy as np
import pytest

from care_live.cli import main
from care_live.errors import StoreError
from care_live.images import VolumeKey
from care_live.store import RunReader, verify
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, open_writer


@pytest.fixture
def run(tmp_path):
    writer = open_writer(tmp_path, make_plan(n_t=2))
    for t in range(2):
        volume = make_volume(VolumeKey(t))
        writer.write_raw(volume)
        writer.write_restored(make_restored(volume))
    writer.close()
    return tmp_path / "run"


def test_a_clean_run_is_clean(run):
    calls = []
    report = verify(run, progress=lambda done, total: calls.append((done, total)))
    assert report.clean
    assert report.n_volumes == 10
    assert calls == [(n, 10) for n in range(1, 11)]
    assert report.n_bytes == sum(path.stat().st_size for path in run.glob("*/0/0/c/*/*/*/*/*"))


@pytest.mark.slow
def test_a_flipped_bit_is_found_or_has_changed_no_pixel(run):
    file = run / "raw/0/0/c/1/0/0/0/0"
    sound = file.read_bytes()
    n_found = 0
    for bit in np.random.default_rng(3).integers(0, 8 * len(sound), 30):
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << (bit % 8)
        file.write_bytes(flipped)
        problems = verify(run).problems
        if problems:
            assert {(problem.kind, problem.where) for problem in problems} == {("checksum", "raw/0/0/c/1/0")}
            n_found += 1
            with pytest.raises(StoreError):
                RunReader(run).read("raw", VolumeKey(1))
        else:
            np.testing.assert_array_equal(RunReader(run).read("raw", VolumeKey(1)), make_pixels(VolumeKey(1)))
    assert n_found > 24


def test_a_lost_shard_a_cut_one_and_a_strange_one_are_named(run):
    (run / "restored/0/0/c/0/0/0/0/0").unlink()
    cut = run / "laplace_scale/0/0/c/1/0/0/0/0"
    cut.write_bytes(cut.read_bytes()[:-20])
    strange = run / "raw/0/0/c/7/0/0/0/0"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"")
    found = {(problem.kind, problem.where) for problem in verify(run).problems}
    assert found == {
        ("missing", "restored/0/0/c/0/0/0/0/0"),
        ("size", "laplace_scale/0/0/c/1/0"),
        ("checksum", "laplace_scale/0/0/c/1/0"),
        ("orphan", "raw/0/0/c/7/0/0/0/0"),
    }


def test_metadata_that_no_viewer_can_read_is_named(run):
    (run / "restored/0/zarr.json").write_text("{")
    (run / "OME/zarr.json").unlink()
    found = [(problem.kind, problem.where) for problem in verify(run).problems]
    assert found == [("metadata", "OME/zarr.json"), ("metadata", "restored/0/zarr.json")]


def test_the_command_prints_a_verdict_and_exits_by_it(run, capsys):
    main(["verify", str(run)])
    assert "10 volumes" in capsys.readouterr().out
    (run / "raw/0/0/c/0/0/0/0/0").unlink()
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(run)])
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "missing   raw/0/0/c/0/0/0/0/0" in printed
    assert "1 problems" in printed


def test_the_command_speaks_json(run, capsys):
    main(["verify", "--json", str(run)])
    report = json.loads(capsys.readouterr().out)
    assert (report["clean"], report["n_volumes"], report["problems"]) == (True, 10, [])


@pytest.mark.parametrize(("name", "code"), [("no-such-run", 2), (".", 1)])
def test_the_command_refuses_what_is_no_run_in_one_line(tmp_path, capsys, name, code):
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(tmp_path / name)])
    assert stop.value.code == code
    assert len(capsys.readouterr().err.splitlines()) == 1
