"""Whether an acquisition belongs to a run on the disk: plan and source are compared, not the name alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from care_live.errors import StoreError
from care_live.images import Plan, VolumeKey
from care_live.recorded.run_records import RunBegan

_ALIKE = ("shape_px", "dtype", "channels", "positions", "voxel_size_um", "interval_s")
_MAY_CHANGE = {"versions", "source_trace"}
"""Of what computed a result, offline, and of its input's files: whether these are others, offline looks itself."""
_SOURCE: tuple[str, ...] = ("format", "engine", "source")
"""Keys of a summary that name the kind of source; a recorded data set has a format."""


class Difference(NamedTuple):
    """One thing that is not as it was when the run began."""

    what: str
    before: object
    now: object


def check_same_run(began: RunBegan, now: RunBegan, run: Path) -> None:
    """Refuse to go on in the folder of another acquisition.

    Raises
    ------
    StoreError
        Name, plan or source differs; the message has both.
    """
    _refuse([*_named(began, now, ("run_id",)), *_plans(began.plan(), now.plan())], run)
    _refuse(_sources(began.summary, now.summary), run)


def check_goes_on(
    began: RunBegan, now: RunBegan, run: Path, *, taps: Collection[str], stored: Collection[VolumeKey], plan: Plan
) -> None:
    """Refuse an acquisition that does not go on with a run.

    Parameters
    ----------
    taps : of all acquisitions that have written the run; an empty one goes on with anything
    stored : raw volumes that the run has
    plan : of the acquisition

    Raises
    ------
    StoreError
        As `check_same_run` and `check_nothing_comes_twice`.
    """
    check_same_run(began, now, run)
    if not {now.tap, ""} & set(taps):
        check_nothing_comes_twice(stored, plan, run)


def check_same_plan(began: Plan, now: Plan, run: Path) -> None:
    """Refuse a plan that does not go on with the one that a run began with.

    More time points of the same are allowed, and so is a plan of the volumes that are left.

    Raises
    ------
    StoreError
        Plane shape, type, channels, positions, voxel size, interval or planes of a volume differ; the message has both.
    """
    _refuse(_plans(began, now), run)


def check_nothing_comes_twice(stored: Collection[VolumeKey], now: Plan, run: Path) -> None:
    """Refuse another acquisition that would record volumes again which the run has: they would be dropped.

    One that goes on with the rest is welcome. Without a plan it is not known what comes, so nothing may be stored yet.

    Raises
    ------
    StoreError
        The message says how many volumes.
    """
    twice = [key for key in stored if key in now.stacks] if now.stacks else list(stored)
    if twice:
        raise StoreError(
            f"run {run} has {len(twice)} of the volumes that another acquisition would record again, the first of them "
            f"{tuple(min(twice))}: they would be dropped; use another run_id"
        )


def _refuse(found: list[Difference], run: Path) -> None:
    if found:
        what, before, now = found[0]
        raise StoreError(
            f"run {run} was begun with {what} {str(before)[:80]}, now {str(now)[:80]} comes; use another run_id"
        )


def _named(before: object, now: object, names: tuple[str, ...]) -> list[Difference]:
    """Compare fields; an empty one is unknown, as in a message that was too long for it."""
    pairs = ((name, getattr(before, name), getattr(now, name)) for name in names)
    return [Difference(name, was, comes) for name, was, comes in pairs if was != comes and () not in (was, comes)]


def _plans(before: Plan, now: Plan) -> list[Difference]:
    return [*_named(before, now, _ALIKE), *_stacks(before, now)]


def _stacks(before: Plan, now: Plan) -> Iterator[Difference]:
    """Compare the planes of each volume; of a time point that was not planned then, with those of its place."""
    of_place: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    for key, planes in before.stacks.items():
        of_place.setdefault((key.p, key.c), set()).add(tuple(planes))
    for key, planes in now.stacks.items():
        was = before.stacks.get(key)
        known = of_place.get((key.p, key.c), set()) if was is None else {tuple(was)}
        if known and tuple(planes) not in known:
            yield Difference(f"planes of volume {tuple(key)}", _brief(min(known)), _brief(tuple(planes)))


def _brief(planes: tuple[int, ...]) -> str:
    return f"{len(planes)} (z {planes[0]} to {planes[-1]})" if planes else "0"


def _sources(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Compare the source's summaries; an empty one (a long plan leaves it out) fits any."""
    if not now or not any(name in before for name in _SOURCE):
        return []
    names: tuple[str, ...] = _SOURCE
    if "format" in before and before.get("format") == now.get("format"):
        names = tuple(sorted(({*before} & {*now}) - _MAY_CHANGE))  # a data set has the same summary every time
    pairs = ((name, before.get(name), now.get(name)) for name in names)
    return [Difference(f"source's {name}", was, comes) for name, was, comes in pairs if not _alike(name, was, comes)]


def _alike(name: str, before: object, now: object) -> bool:
    """Compare one thing; a data set has the same path although one was written from another folder."""
    if name != "path":
        return before == now
    was, comes = PurePath(str(before)), PurePath(str(now))
    absolute = was.is_absolute() and comes.is_absolute()
    return was == comes if absolute else was.name == comes.name
