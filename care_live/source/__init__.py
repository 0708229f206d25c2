"""Stage 1: where frames come from. Every source yields the same events: RunStarted, Frame…, RunEnded.

::

    replay          a recorded data set, at its own or any speed
    folder          follows the data set that Micro-Manager is writing
    studio          whatever is acquired in the window of a running Micro-Manager
    remote          a tap, on this or another machine, sends frames over the link
    live            a core that a person drives: Live, and one run after the other
    virtual, micromanager, pymmcore-plus
                    remote, and a process of its own that runs the engine with the tap
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, runtime_checkable

from care_live.config import (
    FolderConfig,
    LiveSourceConfig,
    RemoteConfig,
    ReplayConfig,
    SourceConfig,
    StudioConfig,
)
from care_live.images import SourceEvent, VolumeKey
from care_live.live_frame import LatestFrame
from care_live.source.live import live
from care_live.source.tap import tap

__all__ = ["KeepsFrames", "MovesStage", "RunAfterRun", "ShowsLive", "Source", "live", "open_source", "tap"]


class Source(Protocol):
    """Gives one run's events: first RunStarted, last RunEnded, in between frames and ended sequences.

    A run that could not begin has only a RunEnded.
    """

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        """Return the next event, or None when none came within *timeout_s*; None for ever after RunEnded."""

    def stop(self) -> None:
        """Order the end, from any thread: the acquisition is aborted and the events drain to RunEnded."""

    def close(self) -> None:
        """End every thread and process of this source."""


@runtime_checkable
class KeepsFrames(Protocol):
    """A source whose other end keeps every frame until it is stored: a daemon that is killed loses none."""

    def stored(self, before: int) -> None:
        """Note that the frames that arrived before this one are on the disk, or will never be."""


@runtime_checkable
class ShowsLive(Protocol):
    """A source that shows Live between its runs: after RunEnded a further RunStarted, of another run id, may follow."""

    @property
    def live(self) -> LatestFrame:
        """Where it puts frames while one is wanted."""


@runtime_checkable
class RunAfterRun(Protocol):
    """A source that shows Live and must know when a run is recorded, before it may give the next."""

    def next_run(self) -> None:
        """The run before is recorded: the next RunStarted may come."""


@runtime_checkable
class MovesStage(Protocol):
    """A source that has a microscope of its own in Live."""

    def move(self, order: Mapping[str, Any]) -> str:
        """Move stage, light or camera; return the order in words. A ConfigError says what is wrong with it."""


def open_source(
    config: SourceConfig,
    *,
    run_id: str,
    stored: Collection[VolumeKey] = frozenset(),
    is_taken: Callable[[str], bool] = lambda name: False,
) -> Source:
    """Open the source that a config section describes.

    Parameters
    ----------
    stored : volumes that an earlier session of the run has: a replay and a useq sequence pass them over
    is_taken : whether a run has a name already: a source of one run after the other passes such names over

    Raises
    ------
    ConfigError
        A setting, a path or an extra is missing.
    SourceError
        The microscope, the link or the data set cannot be opened.
    """
    if isinstance(config, ReplayConfig):
        from care_live.source.replay import ReplaySource

        return ReplaySource(config, run_id=run_id, stored=stored)
    if isinstance(config, FolderConfig):
        from care_live.source.follower import Follower

        return Follower(config, run_id=run_id)
    if isinstance(config, LiveSourceConfig):
        from care_live.source.live_source import LiveSource

        return LiveSource(config, run_id=run_id, is_taken=is_taken)
    if isinstance(config, StudioConfig):
        from care_live.source.studio import StudioSource

        return StudioSource(config, run_id=run_id, is_taken=is_taken)
    if isinstance(config, RemoteConfig):
        from care_live.source.remote import Remote

        return Remote(config, run_id=run_id, until_stored=True)
    from care_live.source.engine_process import Driven

    return Driven(config, run_id=run_id, stored=stored)
