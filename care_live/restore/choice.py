"""Whether a volume goes through the network while it is recorded, or as a whole: decided here, and nowhere else.

What forbids a stream is known at three times. The daemon knows the settings and the ranges when the first plane comes
(`at_first_plane`); inference knows the network, its own speed and the memory (`decide`); what happens on the way ends a
stream (`broken`, `given_up`). The first that forbids it gives the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from care_live.config import RestoreConfig
from care_live.errors import OutOfMemoryError
from care_live.model.card import ModelCard
from care_live.percentiles import Span
from care_live.planewise import cost
from care_live.reasons import Choice, streamed, whole

if TYPE_CHECKING:  # the daemon asks `at_first_plane`, and loads no compiler for that
    from care_live.planewise.tiles import FieldPlan

_WORTH = 0.9
"""A stream must show a volume earlier than one run over the whole of it, at least by this."""
N_UNANSWERED = 2
"""Orders to stream a volume, of each network, between two answers of inference: it may be busy, or hang."""


def may_stream(config: RestoreConfig, card: ModelCard) -> bool:
    """Return whether any volume of a run may be streamed."""
    return config.streaming != "off" and card.normalisation == "in-graph"


def at_first_plane(
    config: RestoreConfig,
    card: ModelCard,
    spans: Mapping[int, Span | None],
    *,
    n_unanswered: int,
    link_is_full: bool = False,
) -> Choice | None:
    """Return why a volume can't be streamed, as far as the daemon knows; None: inference decides.

    Parameters
    ----------
    spans : of each channel that the network takes; None where the range is not known yet; empty: which channels those
        are is not known yet
    n_unanswered : orders to stream a volume with this network since the last answer of inference
    link_is_full : whether planes wait on the link to a worker on another machine
    """
    if config.streaming == "off":
        return whole("off")
    if card.normalisation != "in-graph":
        return whole("foreign")
    if not spans:
        return whole("channels-unknown")
    if None in spans.values():
        return whole("range-unknown", f"normalise.mode is {config.normalise.mode}")
    if n_unanswered >= N_UNANSWERED:
        return whole("busy")
    return whole("slow-link") if link_is_full else None


def decide(
    prepared: FieldPlan | Choice | None,
    config: RestoreConfig,
    *,
    plane_s: float,
    free_bytes: int,
    speed: cost.Speed | None = None,
) -> Choice:
    """Decide for stacks of one size.

    Parameters
    ----------
    prepared : how they would be streamed, or why they can't; None: plane by plane, by a 2D network
    plane_s : seconds from one plane to the next, of all channels together
    free_bytes : what a stream may take
    speed : as measured of late; None: as assumed before the first volume
    """
    if isinstance(prepared, Choice):
        return prepared
    if prepared is None:
        return streamed("no-other-planes")
    if config.streaming == "on":
        return streamed("asked")
    if prepared.peak_bytes > free_bytes:
        return whole("no-memory", need_mib=prepared.peak_bytes >> 20, have_mib=free_bytes >> 20)
    steps, n_tiles = prepared.tile.steps, len(prepared.tiles)
    products_per_s = (speed or cost.Speed()).estimate()
    whole_s = n_tiles * sum(step.products for step in steps) / products_per_s
    streamed_s = cost.age_s(steps, n_tiles=n_tiles, plane_s=plane_s, products_per_s=products_per_s)
    if streamed_s > _WORTH * whole_s:
        return whole("not-sooner", streamed_ms=1e3 * streamed_s, whole_ms=1e3 * whole_s)
    return streamed("sooner", streamed_ms=1e3 * streamed_s, whole_ms=1e3 * whole_s)


def broken(error: Exception) -> Choice:
    """Return the choice for a volume whose stream has failed."""
    is_memory = isinstance(error, OutOfMemoryError | MemoryError)
    return whole("failed", str(error) or ("memory ran out" if is_memory else type(error).__name__))


def given_up(entry: Choice | None, begun: Choice | None) -> Choice:
    """Return the choice for a volume of which inference has no stream.

    Parameters
    ----------
    entry : what inference decided at the first plane; None: it did not decide
    begun : what the daemon decided then
    """
    return entry or begun or whole("restarted")
