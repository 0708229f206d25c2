"""Which planes of a run are drawn for a second look: those against the photons first, then troubles, then discord."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from care_live.images import Integrity, NotRestored, Restored, VolumeKey, read_only
from care_live.maps import folder_of
from care_live.store import RunReader
from care_live.verdict import Doubt, Trust
from care_live.viewer.run_report.run_facts import gather
from care_live.viewer.run_report.worst_places import DoubtfulPlane, worst_places
from tests.make.stored import SHAPE, make_plan, make_restored, make_volume, only_mean, open_writer

WHOLE = Integrity(tuple(range(SHAPE[0])), tuple(range(SHAPE[0])))


def doubting(*sigmas: float) -> Trust:
    doubts = tuple(Doubt("invented", (n % SHAPE[0], 5, 7), sigma) for n, sigma in enumerate(sigmas))
    return Trust("red", ("it shows what the camera did not count",), doubts=doubts)


def disagreeing(t: int, amount: float) -> Restored:
    volume = make_volume(VolumeKey(t), integrity=WHOLE)
    maps = dict(make_restored(volume).maps)
    disagreement = np.full(SHAPE, amount, np.float32)
    disagreement[1] += 0.5
    return make_restored(volume, maps={**maps, "disagreement": read_only(disagreement)})


def places(
    folder: Path, restored: list[Restored], *, n_t: int, notes: tuple[NotRestored, ...] = ()
) -> list[DoubtfulPlane]:
    with contextlib.closing(open_writer(folder, make_plan(n_t=n_t))) as writer:
        for t in range(n_t):
            writer.write_raw(make_volume(VolumeKey(t), integrity=WHOLE))
        for one in restored:
            writer.write_restored(one)
        for note in notes:
            writer.note(note)
    reader = RunReader(folder / "run")
    return worst_places(reader, gather(reader))


def test_the_worst_contradiction_comes_first_and_at_most_three_places_of_a_volume(tmp_path: Path) -> None:
    restored = [
        make_restored(make_volume(VolumeKey(0)), trust=doubting(6.0)),
        make_restored(make_volume(VolumeKey(1)), trust=doubting(12.0, 9.0, 8.0, 7.0)),
    ]
    found = places(tmp_path, restored, n_t=2)
    assert [(one.key.t, one.z) for one in found[:4]] == [(1, 0), (1, 1), (1, 2), (0, 0)]
    assert found[0].caption.startswith("invented, 12.0 times the noise, at y 5 x 7 (place 1 of 4): ")
    assert found[1].caption == "invented, 9.0 times the noise, at y 5 x 7 (place 2 of 4)"
    titles = [title for title, _ in found[0].pictures]
    assert titles[:3] == ["the whole plane, restored", "raw, close", "restored, close"]
    assert all(picture.startswith("data:image/png;base64,") for _, picture in found[0].pictures)


def test_where_nothing_is_wrong_the_members_discord_is_shown_at_its_plane(tmp_path: Path) -> None:
    found = places(tmp_path, [disagreeing(t, amount) for t, amount in enumerate((0.1, 0.3, 0.2))], n_t=3)
    assert [one.key.t for one in found] == [1, 2, 0]
    assert [one.z for one in found] == [1, 1, 1]
    assert found[0].caption.startswith("mean disagreement 0.4")


def test_a_volume_that_was_not_restored_is_shown_raw_at_its_brightest_plane_or_the_first(tmp_path: Path) -> None:
    found = places(tmp_path, [], n_t=1, notes=(NotRestored(VolumeKey(0), "skipped", "busy"),))
    (one,) = found
    assert one.z == 0 and [title for title, _ in one.pictures] == ["raw"] and "skipped" in one.caption


def test_a_run_in_which_nothing_stands_out_shows_its_last_volume(tmp_path: Path) -> None:
    restored = [only_mean(make_restored(make_volume(VolumeKey(t), integrity=WHOLE))) for t in range(2)]
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=2))) as writer:
        for one in restored:
            writer.write_raw(one.volume)
            writer.write_restored(one)
    reader = RunReader(tmp_path / "run")
    (one,) = worst_places(reader, gather(reader))
    assert one.key == VolumeKey(1) and one.caption == "nothing stands out; the last restored volume"
    assert one.z == int(np.argmax(reader.read("restored", one.key).mean(axis=(1, 2))))


def test_a_damaged_map_is_left_out_and_the_others_are_drawn(tmp_path: Path) -> None:
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=1))) as writer:
        writer.write_raw(make_volume())
        writer.write_restored(make_restored(make_volume(), trust=doubting(9.0)))
    for shard in (tmp_path / "run" / folder_of("disagreement")).rglob("c/**/*"):
        if shard.is_file():
            shard.write_bytes(b"no shard")
    reader = RunReader(tmp_path / "run")
    (one,) = worst_places(reader, gather(reader))
    titles = [title for title, _ in one.pictures]
    assert "raw, close" in titles and "disagreement, close" not in titles
