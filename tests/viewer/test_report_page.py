"""The page of a run's report."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from care_live.images import RunEnded, VolumeKey
from care_live.store import RunReader
from care_live.verdict import Trust
from care_live.viewer import run_report
from care_live.viewer.run_report.run_facts import gather
from tests.make.reported_run import WRONG
from tests.make.stored import make_plan, make_restored, make_volume, open_writer


def test_the_page_is_whole_and_texts_of_the_run_stay_texts(run: Path, tmp_path: Path) -> None:
    text = run_report.write(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text and "<script" not in text and "<b>network" not in text
    assert text.count("data:image/png;base64,") >= 2
    assert not re.search(r"(?:src|href)=\"(?!data:)", text), "the page must open without a network"
    assert "not for intensity quantification" in text


def test_trust_and_the_measured_error_are_on_the_page(run: Path, tmp_path: Path) -> None:
    facts = gather(RunReader(run))
    lines = {line.name: line.points for line in facts.lines}
    assert facts.verdicts == (("red", 1),)
    assert lines["age of restored volumes"] == ((0, 1.5),)
    assert lines["measured PSNR, by reference planes"] == ((0, 31.5),)
    assert lines["widening of the intervals"] == ((0, 1.2),)
    text = run_report.write(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "plane 2: invented, 9.0 times the noise, at y 5 x 7 (place 1 of 1): the restoration shows something" in text
    assert "3.0% of all other light" in text and "the specimen &lt;moved&gt;" in text
    assert "evidence, close" in text, "the map that says why"
    assert "<title>time point 0, channel-0: red. the restoration shows something" in text, "and the light over time"


def test_each_channel_has_its_own_light_over_time(tmp_path: Path) -> None:
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=2, n_c=2))) as writer:
        for key in (VolumeKey(t, c=c) for t in range(2) for c in range(2)):
            writer.write_raw(make_volume(key))
            writer.write_restored(make_restored(make_volume(key), trust=WRONG if key.c else Trust("green")), age_s=1.0)
        writer.note(RunEnded("finished", "", 4, 4))
    text = run_report.write(RunReader(tmp_path / "run").path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>time points 0 to 1, channel-0: green</title>" in text
    assert "<title>time points 0 to 1, channel-1: red. the restoration shows" in text
    assert "position 0, channel-0, time point 0" in text and "position 0, channel-1, time point 0" in text


def test_a_damaged_volume_costs_its_picture_and_not_the_page(run: Path, tmp_path: Path) -> None:
    for shard in (run / "raw").rglob("c/*/*/*/*/*"):
        if shard.is_file():
            shard.write_bytes(b"\0" * shard.stat().st_size)
    assert run_report.write(run, tmp_path / "page.html").stat().st_size > 2000


def test_the_page_says_why_volumes_are_amber_and_how_many(tmp_path: Path) -> None:
    dim, flickers = "dark places were counted {} counts brighter", "the light <flickers>"
    said = [(dim.format(2.1),), (dim.format("12.0"), flickers), (dim.format(3),)]
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=3))) as writer:
        for t, reasons in enumerate(said):
            volume = make_volume(VolumeKey(t))
            writer.write_raw(volume)
            writer.write_restored(make_restored(volume, trust=Trust("amber", reasons)), age_s=1.0)
        writer.note(RunEnded("finished", "", 3, 3))
    reader = RunReader(tmp_path / "run")
    assert [(one.first.t, one.n_volumes) for one in gather(reader).cautions] == [(0, 3), (1, 1)]
    text = run_report.write(reader.path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "3 volumes, first time point 0, position 0, channel 0" in text and dim.format(2.1) in text
    assert "the light &lt;flickers&gt;" in text


def test_a_volume_that_was_not_restored_is_shown_by_its_brightest_plane(tmp_path: Path) -> None:
    pixels = make_volume().pixels.copy()
    pixels[1] += 500
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=1))) as writer:
        writer.write_raw(make_volume(pixels=pixels))
        writer.note(RunEnded("finished", "", 1, 1))
    text = run_report.write(tmp_path / "run", tmp_path / "page.html").read_text(encoding="utf-8")
    assert "time point 0, position 0, channel 0, plane 2: of its planes 1 are missing: 1" in text
