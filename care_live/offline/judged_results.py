"""Results of a time point with what its run says of them, as live: the reference planes, and the channels' names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from care_live.errors import SourceError
from care_live.images import Plan, Restored, Volume
from care_live.offline.channel_engines import ChannelEngines, card_of
from care_live.restore.engine import Engine
from care_live.store import Ledger
from care_live.trust.references import References
from care_live.trust.run_verdict import in_run

if TYPE_CHECKING:
    from care_live.offline.time_points import TimePoint, TimePoints

logger = logging.getLogger(__name__)

Results: TypeAlias = Sequence[tuple[Sequence[Volume], Sequence[Restored]]]
"""Raw volumes, in groups as a network takes them, and what it made of each group."""


def references_of(plan: Plan, ledger: Ledger) -> References:
    """Return what measures a run, with what it has measured in the time points that are done.

    Parameters
    ----------
    ledger : of the results
    """
    references = References(plan)
    references.go_on(ledger.newest_measured(), ())  # their light is in the recording
    return references


def judged(
    time_points: TimePoints,
    time_point: TimePoint,
    results: Results,
    *,
    engine: Engine | ChannelEngines,
    references: References,
) -> Results:
    """Return the results of a time point with their verdicts, and behind them the reference planes, which have none."""
    again = _again(time_points, time_point)
    for volume in (*(volume for volumes, _ in results for volume in volumes), *again):
        references.take(volume)
    if again:
        references.exposed(*time_points.light_until(time_point))
    channels = time_points.channels
    found = [
        (volumes, tuple(in_run(one, card_of(engine, one.model), references, channels) for one in restored))
        for volumes, restored in results
    ]
    return [*found, (again, ())] if again else found


def _again(time_points: TimePoints, time_point: TimePoint) -> tuple[Volume, ...]:
    """Return the references of a time point; one that cannot be read costs its measurement, and no restoration."""
    try:
        return time_points.references(time_point)
    except SourceError as error:
        logger.warning("reference not read time_point=%s reason=%s", tuple(time_point), error)
        return ()
