"""What the names on a command line mean: data sets, folders of data sets, patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from care_live.errors import ConfigError
from care_live.recorded import is_address, is_data_set

_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".zarr")


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set, and what its result is called."""

    path: Path | str
    """A string: an address, such as ``s3://bucket/plate.zarr``."""
    name: Path
    """Relative to the output's folder, without an ending."""


def find(inputs: Sequence[str | Path]) -> list[DataSet]:
    """Return the data sets that inputs name, each once, in the order of the inputs and then by name.

    Parameters
    ----------
    inputs : files, data sets, folders that hold data sets at any depth, patterns such as ``"*/day2/*.tif"``, or
        addresses of OME-Zarr such as ``s3://bucket/plate.zarr``

    Raises
    ------
    ConfigError
        An input names nothing, or two data sets would become one result.
    """
    found: dict[Path | str, DataSet] = {}
    for given in inputs:
        ours = list(_of(given))
        if not ours:
            raise ConfigError(f"there is no data set at {given}: wanted TIFF, NDTiff, OME-Zarr, or a folder of these")
        for one in ours:
            found.setdefault(Path(one.path).resolve() if isinstance(one.path, Path) else one.path, one)
    _refuse_twins(list(found.values()))
    return list(found.values())


def is_one(inputs: Sequence[str | Path]) -> bool:
    """Tell whether inputs name a single data set itself, no folder and no pattern: its result is the output itself."""
    if len(inputs) == 1 and is_address(inputs[0]):
        return True
    return len(inputs) == 1 and (
        (not Path(inputs[0]).exists() and not _is_pattern(inputs[0])) or _is_leaf(Path(inputs[0]))
    )


def _of(given: str | Path) -> Iterator[DataSet]:
    if is_address(given):
        yield DataSet(str(given), Path(_bare(str(given).rstrip("/").rpartition("/")[2])))
        return
    path = Path(given)
    if path.exists():
        yield from _at(path, Path(_bare(path.name)) if _is_leaf(path) else Path())
        return
    base = _base(path)
    for match in sorted(base.glob(path.relative_to(base).as_posix())) if _is_pattern(given) else ():
        yield from _at(match, match.relative_to(base).with_name(_bare(match.name)))


def _base(pattern: Path) -> Path:
    """Return the folders before the first one with a wildcard; results are named from there on."""
    fixed = pattern
    while _is_pattern(fixed):
        fixed = fixed.parent
    return fixed


def _at(path: Path, name: Path) -> Iterator[DataSet]:
    """Yield a data set, or those below a folder; what lies inside of a data set is part of it."""
    if _is_leaf(path):
        yield DataSet(path, name)
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            if not child.name.startswith(".") and (child.is_dir() or is_data_set(child)):
                yield from _at(child, name / _bare(child.name))


def _is_leaf(path: Path) -> bool:
    return path.is_file() or is_data_set(path)


def _is_pattern(given: str | Path) -> bool:
    return glob.has_magic(str(given))


def _bare(name: str) -> str:
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)] or name


def _refuse_twins(found: Sequence[DataSet]) -> None:
    by_name: dict[str, DataSet] = {}
    for one in found:
        other = by_name.setdefault(str(one.name).casefold(), one)
        if other is not one:
            raise ConfigError(
                f"{other.path} and {one.path} would both become {one.name}: give the folder that holds both, or two "
                "outputs"
            )
