"""Run folders: journal, shards and metadata damaged; then verified, read, and gone on with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from care_live.errors import StoreError
from care_live.images import Plan, VolumeKey
from care_live.store import RunReader, verify
from fuzzing.damage import Case, Files, also, damage_bytes, damage_json, remove
from fuzzing.target import Target, WrongError, read_files, write_files
from tests.make.stored import make_pixels, make_plan, make_restored, make_volume, open_writer

_JOURNAL = "run/journal.jsonl"
_PLACES = (_JOURNAL, "/raw/", "/c/", "zarr.json", "")
_PLAN = make_plan(n_t=5, n_p=2)
_STORED = [VolumeKey(t, p) for t in range(2) for p in range(2)]
_NEXT = VolumeKey(4, 1)


class RunFolders:
    """Laws: no pixels but those that were stored, and going on with a run costs no sound raw shard."""

    def originals(self, folder: Path) -> Sequence[Files]:
        _write_run(folder, _PLAN)
        return [read_files(folder)]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        place = chance.choice(_PLACES)
        name = chance.choice([name for name in sound if place in name])
        match chance.randrange(8):
            case 0 | 1 | 2:
                return damage_bytes(sound, chance, name)
            case 3:
                return damage_json(sound, chance, name)
            case 4:
                return remove(sound, name)
            case 5:
                return _with_strange_folder(sound, chance)
            case _:
                return _with_other_journal(sound, chance, name)

    def read(self, case: Case, folder: Path) -> None:
        write_files(case.files, folder)
        refused: list[StoreError] = []
        for look in (_verify, _read_all, _go_on):
            try:
                look(folder)
            except StoreError as error:
                refused.append(error)
        _check_raw_is_there(case, folder)
        if refused:
            raise refused[0]


def _write_run(folder: Path, plan: Plan) -> None:
    writer = open_writer(folder, plan)
    for key in _STORED:
        volume = make_volume(key)
        writer.write_raw(volume)
        if key.t == 0:
            writer.write_restored(make_restored(volume))
    writer.close()


def _verify(folder: Path) -> None:
    """Verify, and see whether what it calls clean can be read."""
    report = verify(folder / "run")
    if report.clean:
        for key, pixels in _raw(folder):
            if isinstance(pixels, StoreError):
                raise WrongError(f"verify calls the run clean, but {tuple(key)} can't be read: {pixels}")


def _read_all(folder: Path) -> None:
    """Read every volume; those that can't be read must not hide the others."""
    for key, pixels in _raw(folder):
        if isinstance(pixels, np.ndarray) and not np.array_equal(pixels, make_pixels(key)):
            raise WrongError(f"raw volume {tuple(key)} was read, and is not what was stored")
    reader = RunReader(folder / "run")
    for key in reader.keys("restored"):
        _try_restored(reader, key)


def _try_restored(reader: RunReader, key: VolumeKey) -> None:
    try:
        pixels = reader.read("restored", key)
    except StoreError:
        return
    if not np.allclose(pixels, make_restored(make_volume(key)).mean, rtol=2**-10):
        raise WrongError(f"restored volume {tuple(key)} was read, and is not what was stored")


def _raw(folder: Path) -> Iterator[tuple[VolumeKey, np.ndarray | StoreError]]:
    reader = RunReader(folder / "run")
    for key in reader.keys("raw"):
        try:
            yield key, reader.read_raw(key).pixels
        except StoreError as error:
            yield key, error


def _go_on(folder: Path) -> None:
    """Open the run for writing, as a daemon does that was started again, and store one more volume."""
    writer = open_writer(folder, _PLAN)
    try:
        if _NEXT not in writer.raw_keys():
            writer.write_raw(make_volume(_NEXT))
    finally:
        writer.close()
    if not np.array_equal(RunReader(folder / "run").read("raw", _NEXT), make_pixels(_NEXT)):
        raise WrongError("a volume that was stored after the damage is not what comes back")


def _check_raw_is_there(case: Case, folder: Path) -> None:
    """Look for the bytes of every raw shard that was not damaged, wherever in the run they lie now."""
    left = set(read_files(folder).values())
    for name, data in case.files.items():
        if name.startswith("run/raw/") and "/c/" in name and case.sound.get(name) == data and data not in left:
            raise WrongError(f"{name} was sound, and is gone from the disk")


def _with_other_journal(sound: Files, chance: random.Random, name: str) -> Case:
    """Damage the journal, and with it, half of the time, another file."""
    lines = {**sound, _JOURNAL: _other_lines(sound[_JOURNAL], chance)}
    case = Case(sound, lines, f"lines {_JOURNAL}")
    return also(case, damage_bytes, chance, name) if chance.random() < 0.5 else case


def _other_lines(journal: bytes, chance: random.Random) -> bytes:
    """Lose, double or swap whole lines: each is still sound by itself."""
    lines = journal.splitlines(keepends=True)
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[i]
        case 1:
            lines.insert(j, lines[i])
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            lines = lines[:i]
    return b"".join(lines)


def _with_strange_folder(sound: Files, chance: random.Random) -> Case:
    """Add what people and file managers leave in a run's folder."""
    name = chance.choice(tuple(sound))
    parts = name.split("/")
    i = chance.randrange(len(parts))
    parts[i] = chance.choice((f"{parts[i]} - Copy", ".DS_Store", "x", "-1", "1e9", "", "00", "desktop.ini"))
    strange: Mapping[str, bytes] = {"/".join(filter(None, parts)): sound[name]}
    files = {**strange, **sound}
    return Case(sound, files if _can_be_laid_out(files) else sound, "strange folder")


def _can_be_laid_out(files: Files) -> bool:
    """Return whether no file lies where another one needs a folder."""
    return not any(other.startswith(f"{name}/") for name in files for other in files)


def target() -> Target:
    return RunFolders()
