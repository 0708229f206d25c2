"""Many data sets restored with one network: gone through one after the other, reported."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from care_live.config import StoreConfig
from care_live.errors import ConfigError, RestoreError, SourceError, StoreError
from care_live.offline import provenance
from care_live.offline.address_output import restore_to_address
from care_live.offline.computed_with import ComputedWith
from care_live.offline.data_sets import MANIFEST, ArchivePlan, PlannedDataSet
from care_live.offline.input_trace import trace
from care_live.offline.named_networks import Networks
from care_live.offline.opened_network import as_table
from care_live.offline.progress import ProgressBar
from care_live.offline.run_output import DataSetOutcome, LocalRestorer, Restorer, RunJob, Step, restore_to_run
from care_live.offline.tiff_output import SUFFIXES, restore_to_tiff
from care_live.recorded import Recording, open_recording
from care_live.store import RunLock
from care_live.store.disk import space_of
from care_live.store.fsync import free_bytes, make_folder, replace_file
from care_live.store.lock import LOCK_NAME


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What became of each data set."""

    output: Path | str
    network: str
    outcomes: dict[Path | str, DataSetOutcome] = field(default_factory=dict)
    """By path of the data set."""
    errors: dict[Path | str, str] = field(default_factory=dict)
    """Of data sets that could not be restored at all."""
    n_single_planes: int = 0
    """Time points of one plane, where the network was trained on stacks."""
    of_plan: tuple[str, ...] = ()
    """Remarks on what was found to restore."""

    @property
    def n_restored(self) -> int:
        """Time points restored now."""
        return sum(outcome.n_restored for outcome in self.outcomes.values())

    @property
    def n_before(self) -> int:
        """Time points that were restored already."""
        return sum(outcome.n_before for outcome in self.outcomes.values())

    @property
    def flags(self) -> Counter[str]:
        return sum((outcome.flags for outcome in self.outcomes.values()), Counter())

    @property
    def problems(self) -> list[str]:
        """One line for each data set of which something was not restored, and why."""
        lines = [f"{path}: {error}" for path, error in self.errors.items()]
        for path, outcome in self.outcomes.items():
            if outcome.failed:
                n_all, first = outcome.n_done + len(outcome.failed), next(iter(outcome.failed.values()))
                lines.append(
                    f"{path}: {len(outcome.failed)} of {n_all} time points were not restored; the first: {first}"
                )
        return lines

    @property
    def remarks(self) -> list[str]:
        """What was passed over, and what may make volumes of this session differ from those before, each once."""
        lines = (line for outcome in self.outcomes.values() for line in outcome.remarks)
        return list(dict.fromkeys([*self.of_plan, *lines]))

    @property
    def is_complete(self) -> bool:
        return not self.problems

    def summary(self) -> str:
        """Return what was done in one line."""
        flags = "".join(f", {n} {flag}" for flag, n in sorted(self.flags.items()))
        before = f", {self.n_before} were restored before" if self.n_before else ""
        n = self.n_single_planes
        planes = f"; {n} are single planes, but {self.network} was trained on stacks: prefer a 2D network" if n else ""
        return f"{self.output}: {self.n_restored} time points restored with {self.network}{flags}{before}{planes}"

    def _repr_html_(self) -> str:
        rows = {"output": str(self.output), "network": self.network, "restored now": f"{self.n_restored} time points"}
        rows |= {"restored before": f"{self.n_before} time points", "flags": str(dict(self.flags) or "no flag")}
        return as_table(rows | {f"problem {i + 1}": line for i, line in enumerate(self.problems)})


def restore_archive(
    plan: ArchivePlan, network: Networks, *, restorer: Restorer | None = None, progress: bool = True
) -> RestoreReport:
    """Restore what the results lack; a data set that fails does not stop the others.

    Parameters
    ----------
    restorer : what restores; None: this process

    Raises
    ------
    ConfigError
        Results of another network or other settings lie there, or something else.
    StoreError
        Another process writes there.
    ModelError
        The network must not run.
    """
    shown = plan.address or plan.output
    n_single_planes, of_plan = plan.n_single_planes(network.cards), tuple(plan.remarks)
    report = RestoreReport(shown, network.identity.name, n_single_planes=n_single_planes, of_plan=of_plan)
    restorer = restorer or LocalRestorer(network)
    with _locked(plan, network, restorer) as chosen, ProgressBar(plan.n_time_points, shown=progress) as bar:
        for entry in plan.entries:
            path = entry.data_set.path
            try:
                if entry.error:
                    raise SourceError(entry.error)
                with _job(entry, plan, network, chosen) as job:
                    report.outcomes[path] = _restore(job, plan.address_of(entry), restorer, bar.step)
            except (SourceError, RestoreError, StoreError) as error:
                if plan.is_one:
                    raise
                report.errors[path] = str(error)
                if isinstance(error, StoreError) and _is_full(plan.output):
                    break
    if plan.address and report.is_complete:  # all is there, and nothing is left to go on with
        shutil.rmtree(plan.output, ignore_errors=True)
    return report


def _restore(job: RunJob, address: str, restorer: Restorer, step: Step) -> DataSetOutcome:
    if address:
        return restore_to_address(job, address, restorer, step=step)
    if job.target.suffix.lower() in SUFFIXES:
        return restore_to_tiff(job, restorer, step=step)
    return restore_to_run(job, restorer, step=step)


@contextlib.contextmanager
def _job(entry: PlannedDataSet, plan: ArchivePlan, network: Networks, chosen: ComputedWith | None) -> Iterator[RunJob]:
    """Open a data set for as long as it is restored."""
    if not plan.is_one:
        make_folder(entry.target.parent)
    with contextlib.closing(_opened(entry, plan)) as recording:
        tiff = entry.target.suffix.lower() in SUFFIXES
        yield RunJob(
            recording=recording,
            source=entry.data_set.path,
            target=entry.target,
            run_id=run_id_of(entry.data_set.path),
            provenance=_provenance(plan, network, keep_raw=plan.keep_raw and not tiff),
            channels=network.choose(recording.contents.plan.channels),
            source_crc32c=provenance.fingerprint(entry.data_set.path),
            source_trace=trace(entry.data_set.path),
            computed_with=chosen,
            pyramid=plan.pyramid and not tiff,
        )


def _opened(entry: PlannedDataSet, plan: ArchivePlan) -> Recording:
    """Open a data set that could be opened when the plan was made.

    Raises
    ------
    SourceError
        It cannot be opened any more.
    """
    try:
        return open_recording(entry.data_set.path, axes=plan.axes, any_numbers=True)
    except ConfigError as error:
        raise SourceError(f"{error}; it was there when the command began") from error


@contextlib.contextmanager
def _locked(plan: ArchivePlan, network: Networks, restorer: Restorer) -> Iterator[ComputedWith | None]:
    """Hold an archive's folder, which has results of one network and one set of settings; give what computes them."""
    if plan.is_one:  # its own run is locked, and notes it
        yield None
        return
    if plan.output.exists() and not plan.output.is_dir():
        raise ConfigError(f"{plan.output} is a file, but several results go into a folder: choose another name")
    make_folder(plan.output)
    lock = RunLock(plan.output)
    try:
        wanted = _provenance(plan, network, keep_raw=plan.keep_raw)
        manifest = plan.output / MANIFEST
        found = _read(manifest) if manifest.exists() else None
        if manifest.exists() and not (found and _is_empty(plan.output)):
            provenance.refuse_other(found, wanted, plan.output)
            yield ComputedWith.found_in(found)
            return
        chosen = next((restorer.choose(entry.dtype) for entry in plan.entries if not entry.error), None)
        record = provenance.described(wanted) | (chosen.noted() if chosen else {})
        replace_file(manifest, msgspec.json.format(msgspec.json.encode(record), indent=1))
        yield chosen
    finally:
        lock.close()


def _is_empty(folder: Path) -> bool:
    """Return whether an archive has no result yet: settings with which nothing could be restored may be corrected."""
    return all(one.name in (MANIFEST, LOCK_NAME) for one in folder.iterdir())


def _read(manifest: Path) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return None


def _provenance(plan: ArchivePlan, network: Networks, *, keep_raw: bool) -> dict[str, Any]:
    return provenance.of(network.provenance, network.config, axes=plan.axes, keep_raw=keep_raw)


def _is_full(folder: Path) -> bool:
    return space_of(free_bytes(folder), StoreConfig().keep_free_mib) != "enough"


def run_id_of(source: Path | str) -> str:
    """Return a run id made of a file's name."""
    return re.sub(r"[^0-9A-Za-z_-]+", "-", Path(source).name.split(".")[0]).strip("-")[:64] or "restored"
