"""Results of a time point, and what its run says of them, as live: the reference planes, and the channels' names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from care_live.errors import SourceError
from care_live.images import Plan, Restored, Volume
from care_live.offline.channel_engines import ChannelEngines, card_of, inputs, most_past, with_past
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


def restored_of(time_points: TimePoints, time_point: TimePoint, engine: Engine | ChannelEngines) -> Results:
    """Return what was read of a time point, in groups as the network takes them, and what it made of each.

    Each time point is judged by what it shows of the camera itself: with what earlier ones have shown, evidence and
    trust would depend on where work was interrupted, and on which worker had restored what.

    Raises
    ------
    SourceError, RestoreError
        A plane cannot be read; the network cannot restore it.
    """
    engine.forget_camera()
    earlier = time_points.before(time_point, most_past(engine))
    groups = inputs(time_points.read(time_point), engine)
    return [(group, engine.restore(with_past(group, engine, earlier))) for group in groups]


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
