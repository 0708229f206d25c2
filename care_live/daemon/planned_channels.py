"""The channels of a run before it begins: names that no channel has are refused while nothing is exposed."""

from __future__ import annotations

from care_live.config import Config, SourceConfig
from care_live.daemon.resume import MicroscopeConfig, outline_of
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import ConfigError
from care_live.images import RunStarted


def planned_channels(source: SourceConfig) -> tuple[str, ...]:
    """Return the channels that the settings order; empty: only the acquisition itself will say.

    Raises
    ------
    ConfigError
        The sequence of the settings cannot be read.
    """
    return tuple(outline_of(source).places.channels) if isinstance(source, MicroscopeConfig) else ()


def refuse_unknown_channels(config: Config, restorer: WorkerGroup) -> None:
    """Refuse networks for channels that the acquisition will not have; the networks are open, nothing is exposed.

    Several cameras at once are not known here: their labels follow a channel's name.

    Raises
    ------
    ConfigError
        The message has both sides.
    """
    asked = [name for network in config.restore.networks for name in network.channels]
    planned = planned_channels(config.source) if asked else ()
    of_cameras = tuple(name for name in asked if name.startswith(tuple(f"{channel} " for channel in planned)))
    if planned:
        _refuse(restorer, planned + of_cameras)


def refuse_channels_of_recording(config: Config, restorer: WorkerGroup, started: RunStarted) -> None:
    """Refuse networks for channels that a recording lacks: it can be played again.

    Raises
    ------
    ConfigError
        The message has both sides.
    """
    if config.source.kind == "replay":
        _refuse(restorer, started.plan.channels)


def _refuse(restorer: WorkerGroup, channels: tuple[str, ...]) -> None:
    _, wrong = restorer.choose(channels)
    if wrong:
        raise ConfigError(f"{'; '.join(wrong)}: name them in [[restore.channel]] as the acquisition does")
