"""Which planes are exposed a second time at full light: right after their low-light twins, so that nothing moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from care_live.config import AcquisitionConfig
from care_live.images import REFERENCE

_GOLDEN = 0.6180339887
"""Steps by it cover every height evenly, however many references there will be."""


def with_references(events: Iterable[dict[str, Any]], acquisition: AcquisitionConfig) -> Iterator[dict[str, Any]]:
    """Yield pycromanager's events, each reference behind its twin: the same place, exposed longer, another channel."""
    wanted = acquisition.reference
    for event in events:
        yield event
        t, z = event["axes"]["time"], event["axes"]["z"]
        if wanted is not None and z in heights(acquisition, t):
            axes = {**event["axes"], "channel": f"{event['axes']['channel']}{REFERENCE}"}
            yield {**event, "axes": axes, "exposure": event["exposure"] * wanted.light}


def heights(acquisition: AcquisitionConfig, t: int) -> tuple[int, ...]:
    """Return the z indices of a time point's reference planes, sorted; none for most time points."""
    wanted, n_z = acquisition.reference, acquisition.z_planes
    if wanted is None or t % wanted.every:
        return ()
    first = (0.5 + t // wanted.every * _GOLDEN) % 1.0
    return tuple(sorted({int((first + n) * n_z / wanted.planes) % n_z for n in range(wanted.planes)}))
