"""What a run that went to its end lacks: the rule for its exit code."""

from __future__ import annotations

from care_live.daemon.run_metrics import DaemonStatus

_NO_PLACE = ("duplicate", "unplanned", "late", "wrong-shape", "wrong-dtype", "wrong-run")
"""Planes that came and are stored nowhere. Of a plane that came twice the first one is stored; the second may have been
another plane with a wrong label."""


def shortfalls(status: DaemonStatus, *, stopped: bool) -> tuple[str, ...]:
    """Return what is missing, in words; empty when all that was planned is stored and everything worked.

    Parameters
    ----------
    status : at the end
    stopped : a person ended the run before its time, so planes that did not come are no loss
    """
    return tuple(_missing_planes(status, stopped=stopped) + _failures(status))


def _missing_planes(status: DaemonStatus, *, stopped: bool) -> list[str]:
    found = []
    if status.lost_planes and not stopped:
        found.append(f"{status.lost_planes} of {status.planned_planes} planned planes never came")
    if status.incomplete_before and not stopped:
        found.append(f"{status.incomplete_before} volumes of an earlier session of this run lack planes")
    if status.refused_planes:
        found.append(f"{status.refused_planes} planes found no memory: the disk, or the link, was too slow")
    homeless = {reason: n for reason, n in status.dropped_planes.items() if reason in _NO_PLACE}
    if homeless:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(homeless.items()))
        found.append(f"{sum(homeless.values())} planes came and have no place ({reasons})")
    return found


def _failures(status: DaemonStatus) -> list[str]:
    """Return what failed; restored volumes that a full disk shed are no failure: the next start restores them."""
    found = [status.publishing] if status.publishing else []
    if status.unrestored:
        found.append(f"{status.unrestored} volumes could not be restored")
    return found + list(status.warnings)
