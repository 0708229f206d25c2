"""Live of a source, wired: what restores it, what may be kept of it, and what shows it."""

from __future__ import annotations

from care_live.config import Config
from care_live.daemon.bulkhead import Bulkhead
from care_live.daemon.live_field import FieldInParts
from care_live.daemon.live_keeping import RecentFrames
from care_live.daemon.live_restoring import NetworkOnLive, RunningAverage
from care_live.daemon.live_show import LiveRestorer, LiveShow
from care_live.publish.publisher import Publisher
from care_live.source import ShowsLive, Source
from care_live.worker.client import RestoreProcess


def live_show(
    config: Config, source: Source, restorer: RestoreProcess, *, publisher: Publisher, publishing: Bulkhead
) -> LiveShow | None:
    """Return what shows Live between the runs of a source; None: the source has none."""
    if not isinstance(source, ShowsLive):
        return None
    live = config.live
    shown: LiveRestorer = RunningAverage(live)
    if live.restoration == "network":
        networks = enumerate(config.restore.networks) if config.restore.channel else ()
        channels = {name: number for number, network in networks for name in network.channels}
        shown = FieldInParts(NetworkOnLive(restorer, live, channels), live)
    recent, lag_s = RecentFrames(live, config.store), live.lag_ms / 1000
    return LiveShow(source.live, shown, publisher=publisher, publishing=publishing, recent=recent, lag_s=lag_s)
