"""What the names on a command line mean, data sets, folders of data sets or patterns, and where each result goes."""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from care_live.errors import ConfigError, SourceError
from care_live.model.card import ModelCard
from care_live.recorded import is_address, is_data_set, open_recording

MANIFEST = "archive.json"
"""Lies in an output of several results, and says which network makes them."""
_NOT_WRITTEN = (".czi", ".h5", ".ims", ".jpeg", ".jpg", ".lif", ".nd2", ".npy", ".png")
_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".zarr")


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set, and what its result is called."""

    path: Path | str
    """A string: an address, such as ``s3://bucket/plate.zarr``."""
    name: Path
    """Relative to the output's folder, without an ending."""


@dataclass(frozen=True, slots=True)
class PlannedDataSet:
    """One data set and where its result goes."""

    data_set: DataSet
    target: Path
    n_time_points: int = 0
    n_channels: int = 1
    n_planes: int = 1
    """Of one volume."""
    n_voxels: int = 0
    """Of one time point, all channels."""
    shape_px: tuple[int, int] = (1, 1)
    """(y, x) of its planes."""
    dtype: str = "uint16"
    """Of the pixels."""
    axes: str = ""
    """As the file has them; empty: it is of a kind that leaves no choice."""
    error: str = ""
    """Why it cannot be opened."""

    @property
    def pixel_bytes(self) -> int:
        """What a pixel takes."""
        return np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """What is to be restored where."""

    entries: tuple[PlannedDataSet, ...]
    output: Path
    """Of results for an address: where they are made before they are copied."""
    axes: str | None
    keep_raw: bool
    is_one: bool
    """The only data set's result is the output itself."""
    address: str = ""
    """Where results are copied to; empty: they stay where they are."""
    pyramid: bool = True
    """Store coarser levels of large images."""
    passed_over: tuple[Path, ...] = ()
    """Files in folders, or that patterns match, whose names are those of no images."""

    @property
    def remarks(self) -> list[str]:
        """What a person may not expect, a line each."""
        n = len(self.passed_over)
        first = ", ".join(path.name for path in self.passed_over[:3]) + (", ..." if n > 3 else "")
        return [f"passed over, by their names no images: {n} file{'s' * (n > 1)} ({first})"] if n else []

    def address_of(self, entry: PlannedDataSet) -> str:
        """Return where a result is copied to; empty: it stays where it is."""
        return self.address if self.is_one or not self.address else f"{self.address}/{entry.data_set.name.as_posix()}"

    @property
    def n_time_points(self) -> int:
        return sum(entry.n_time_points for entry in self.entries)

    def n_single_planes(self, cards: Sequence[ModelCard]) -> int:
        """Return how many time points are single planes, where a network needs stacks."""
        flat = [entry for entry in self.entries if not entry.error and entry.n_planes == 1]
        return sum(entry.n_time_points for entry in flat) if any(card.axes == "ZYX" for card in cards) else 0


def plan_archive(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    axes: str | None,
    keep_raw: bool,
    as_tiff: bool,
    pyramid: bool = True,
) -> ArchivePlan:
    """Look for the data sets, open each, and return where its result goes; nothing is written.

    Parameters
    ----------
    output : a file, a folder, or an address such as ``s3://bucket/restored``: results for an address are made in a
        hidden folder of the working directory, one after the other, and copied

    Raises
    ------
    ConfigError
        An input names nothing, the output lies within an input or is named as a file that is not written, or the only
        input cannot be opened.
    SourceError
        The only input is damaged.
    """
    address = str(output).rstrip("/") if is_address(output) else ""
    if address and (as_tiff or address.lower().endswith((".tif", ".tiff"))):
        raise ConfigError(f"{address} would be a TIFF, but results at an address are OME-Zarr: choose another name")
    if str(output).lower().endswith(_NOT_WRITTEN):
        raise ConfigError(
            f"{output} would be no {Path(output).suffix}: end its name with .tif, with .zarr, or with nothing"
        )
    output = Path(f".{re.sub(r'[^0-9A-Za-z.-]+', '-', address)}.restoring") if address else Path(output)
    single = is_one(inputs)
    if not single and not address:  # a shell puts it behind the inputs of a pattern, once it is there
        inputs = [given for given in inputs if len(inputs) == 1 or not _is_earlier_result(given, output)]
    data_sets, passed_over = find(inputs, output=None if single or address else output)
    for given in inputs:
        if (
            not address
            and not is_address(given)
            and Path(given).is_dir()
            and Path(given).resolve() in (output.resolve(), *output.resolve().parents)
        ):
            raise ConfigError(f"{output} is the input {given}, or lies inside it: write somewhere else")
    entries = []
    for one in data_sets:
        target = output if single else _target(output / one.name, as_tiff=as_tiff)
        try:
            entries.append(_entry(one, target, axes))
        except (ConfigError, SourceError) as error:
            if single:
                raise
            entries.append(PlannedDataSet(one, target, error=str(error).removeprefix(f"{one.path} ")))
    entries = _without_nested(entries)
    return ArchivePlan(tuple(entries), output, axes, keep_raw, single, address, pyramid, passed_over)


def _is_earlier_result(given: str | Path, output: Path) -> bool:
    return not is_address(given) and (output / MANIFEST).is_file() and Path(given).resolve() == output.resolve()


def _without_nested(entries: Sequence[PlannedDataSet]) -> list[PlannedDataSet]:
    """Mark data sets in whose result another one would lie, as of ``cell.tif`` beside a folder ``cell``."""

    def folded(path: Path) -> str:
        return path.as_posix().casefold()

    above = {folded(parent): entry for entry in entries for parent in entry.target.parents}
    return [
        PlannedDataSet(
            entry.data_set,
            entry.target,
            error=f"its result would be {entry.target}, and that of {inner.data_set.path} would lie in it: restore it "
            "by a command of its own, with another output, or all as TIFF (--tiff)",
        )
        if not entry.error and (inner := above.get(folded(entry.target))) is not None
        else entry
        for entry in entries
    ]


def find(inputs: Sequence[str | Path], *, output: Path | None = None) -> tuple[list[DataSet], tuple[Path, ...]]:
    """Return the data sets that inputs name, each once, in the order of the inputs and then by name.

    Also the files beside them that are passed over: in folders, or matched by patterns, and by their names no images.

    Parameters
    ----------
    inputs : files, data sets, folders that hold data sets at any depth, patterns such as ``"*/day2/*.tif"``, or
        addresses of OME-Zarr such as ``s3://bucket/plate.zarr``
    output : what lies in it is no match of a pattern: it is what the command before has made

    Raises
    ------
    ConfigError
        An input names nothing, or two data sets would become one result.
    """
    found: dict[Path | str, DataSet] = {}
    passed_over: dict[Path, None] = {}
    for given in inputs:
        matches = list(_of(given))
        if output is not None and not is_address(given) and not Path(given).exists():
            matches = [one for one in matches if not _lies_in(one, output)]
        passed_over |= {one: None for one in matches if isinstance(one, Path)}
        ours = [one for one in matches if isinstance(one, DataSet)]
        if not ours:
            raise ConfigError(f"there is no data set at {given}: wanted TIFF, NDTiff, OME-Zarr, or a folder of these")
        for one in ours:
            found.setdefault(Path(one.path).resolve() if isinstance(one.path, Path) else one.path, one)
    _refuse_twins(list(found.values()))
    return list(found.values()), tuple(passed_over)


def _lies_in(one: DataSet | Path, folder: Path) -> bool:
    path = Path(one.path if isinstance(one, DataSet) else one).resolve()
    return folder.resolve() in (path, *path.parents)


def is_one(inputs: Sequence[str | Path]) -> bool:
    """Tell whether inputs name a single data set itself, no folder and no pattern: its result is the output itself."""
    if len(inputs) == 1 and is_address(inputs[0]):
        return True
    return len(inputs) == 1 and (
        (not Path(inputs[0]).exists() and not _is_pattern(inputs[0])) or _is_leaf(Path(inputs[0]))
    )


def _of(given: str | Path) -> Iterator[DataSet | Path]:
    """Yield the data sets that one input names, and files that are passed over."""
    if is_address(given):
        yield DataSet(str(given), Path(_bare(str(given).rstrip("/").rpartition("/")[2])))
        return
    path = Path(given)
    if path.exists() or is_data_set(path):
        yield from _at(path, Path(_bare(path.name)) if _is_leaf(path) else Path())
        return
    base = _base(path)
    for match in sorted(base.glob(path.relative_to(base).as_posix())) if _is_pattern(given) else ():
        if match.name.startswith(".") and not path.name.startswith("."):  # as a shell has it
            continue
        if match.is_file() and not is_data_set(match):
            yield match
        else:
            yield from _at(match, match.relative_to(base).with_name(_bare(match.name)))


def _base(pattern: Path) -> Path:
    """Return the folders before the first one with a wildcard; results are named from there on."""
    fixed = pattern
    while _is_pattern(fixed):
        fixed = fixed.parent
    return fixed


def _at(path: Path, name: Path, above: frozenset[Path] = frozenset()) -> Iterator[DataSet | Path]:
    """Yield a data set, or those below a folder, and files beside them; what lies inside of a data set is part of it.

    A link to one of the folders that it lies in is left out.
    """
    if _is_leaf(path):
        yield DataSet(path, name)
    elif path.is_dir() and (here := path.resolve()) not in above:
        for child in sorted(path.iterdir()):
            if child.name.startswith("."):
                continue
            if child.is_dir() or is_data_set(child):
                yield from _at(child, name / _bare(child.name), above | {here})
            else:
                yield child


def _is_leaf(path: Path) -> bool:
    """Return whether a path is looked at as one data set; a folder that cannot be read is: opening it says why."""
    try:
        return path.is_file() or is_data_set(path)
    except OSError:
        return True


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


def _entry(data_set: DataSet, target: Path, axes: str | None) -> PlannedDataSet:
    with contextlib.closing(open_recording(data_set.path, axes=axes, any_numbers=True)) as recording:
        order, plan = recording.contents.order, recording.contents.plan
        first = [index for index in order if (index.t, index.p) == (order[0].t, order[0].p)]
        return PlannedDataSet(
            data_set,
            target,
            n_time_points=len({(index.t, index.p) for index in order}),
            n_channels=len({index.c for index in first}),
            n_planes=len({index.z for index in first}),
            n_voxels=len(first) * plan.shape_px[0] * plan.shape_px[1],
            shape_px=plan.shape_px,
            dtype=plan.dtype,
            axes=str(recording.contents.summary.get("axes", "")),
        )


def _target(path: Path, *, as_tiff: bool) -> Path:
    return path.with_name(f"{path.name}.ome.tif") if as_tiff else path
