"""Which volumes are exposed twice, how, and what light that costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from care_live.config import (
    AcquisitionConfig,
    Channel,
    Config,
    LiveSourceConfig,
    MicroManagerConfig,
    PrepareConfig,
    ReferenceConfig,
    VirtualConfig,
)
from care_live.errors import ConfigError
from care_live.model.card import ModelCard

_OVERHEAD_MS = 10.0
"""Of a stage and a camera between two exposures, roughly."""
_FEWEST_HELD_OUT = 2
"""Intervals of one volume are judged with the factors that the others fix."""

DrivenMicroscope = VirtualConfig | MicroManagerConfig


@dataclass(frozen=True, slots=True)
class ExposurePlan:
    """All pairs of a preparation: each plane is exposed as in a run, and right after it once more."""

    microscope: DrivenMicroscope
    """With the acquisition of all pairs; its reference channel is the second exposure."""
    settings: PrepareConfig
    n_run_volumes: int
    """Volumes that the run of the config will expose."""

    @property
    def acquisition(self) -> AcquisitionConfig:
        return self.microscope.acquisition

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels that the network will read together."""
        return tuple(channel.preset for channel in self.acquisition.channels)

    @property
    def n_places(self) -> int:
        return max(1, len(self.acquisition.positions))

    @property
    def n_pairs(self) -> int:
        return self.acquisition.time_points * self.n_places

    @property
    def n_held_out(self) -> int:
        return max(_FEWEST_HELD_OUT, self.n_pairs // 4)

    @property
    def light(self) -> float:
        """Return the second exposure over the first."""
        return self.settings.light if self.settings.second == "bright" else 1.0

    @property
    def dose(self) -> float:
        """Return the light of all pairs, in volumes of the run."""
        return self.n_pairs * (1.0 + self.light)

    @property
    def duration_s(self) -> float:
        """Return about how long the exposures take, seconds."""
        plane_ms = sum((1.0 + self.light) * one.exposure_ms + 2 * _OVERHEAD_MS for one in self.acquisition.channels)
        volumes_s = self.n_pairs * self.acquisition.z_planes * plane_ms / 1000
        return max(volumes_s, (self.acquisition.time_points - 1) * self.acquisition.interval_s)

    def is_of(self, said: object) -> bool:
        """Tell whether stored settings are this plan's; those of an older version lack what has been added since."""
        try:
            return type(self.microscope).model_validate(said) == self.microscope
        except ValidationError:
            return False

    def after(self, n_time_points: int) -> DrivenMicroscope:
        """Return the microscope with the acquisition of what is left after some time points."""
        left = self.acquisition.model_copy(update={"first_time_point": n_time_points})
        return self.microscope.model_copy(update={"acquisition": left})

    def describe(self) -> str:
        """Return in words what will be exposed, and the dose."""
        first = ", ".join(f"{one.preset} {one.exposure_ms:g} ms" for one in self.acquisition.channels)
        again = f"{self.light:g} times as long" if self.light > 1 else "as long"
        places = f" at {self.n_places} positions" if self.n_places > 1 else ""
        compared = f", {self.dose / self.n_run_volumes:.1f} times that of the planned run" if self.n_run_volumes else ""
        return (
            f"Exposes {self.n_pairs} volumes of {self.acquisition.z_planes} planes{places}; each plane twice, {first} "
            f"and right after it {again}: the light of {self.dose:.0f} volumes of the run{compared}. It takes about "
            f"{_duration(self.duration_s)}. {self.n_held_out} of them are held out, to judge the network by."
        )


def plan_exposures(config: Config, card: ModelCard) -> ExposurePlan:
    """Return what a preparation exposes at the microscope of a config.

    Parameters
    ----------
    card : of the config's network, which says how many channels are read together

    Raises
    ------
    ConfigError
        The source drives no microscope by ``source.acquisition``, or has too few channels.
    """
    microscope, settings = _microscope_of(config), config.prepare
    run, places = microscope.acquisition, settings.positions or microscope.acquisition.positions
    n_places = max(1, len(places))
    second = ReferenceConfig(every=1, planes=run.z_planes, light=settings.light if settings.second == "bright" else 1.0)
    acquisition = run.model_copy(
        update={
            "time_points": -(-settings.pairs // n_places),
            "first_time_point": 0,
            "interval_s": settings.interval_s,
            "positions": places,
            "channels": _channels(run.channels, config.restore.networks[0].channels, len(card.channels_in)),
            "reference": second,
        }
    )
    n_run = (run.time_points - run.first_time_point) * max(1, len(run.positions))
    return ExposurePlan(microscope.model_copy(update={"acquisition": acquisition}), settings, n_run)


def _microscope_of(config: Config) -> DrivenMicroscope:
    source = config.source
    if isinstance(source, LiveSourceConfig) and source.microscope is not None:
        source = source.microscope
    if not isinstance(source, VirtualConfig | MicroManagerConfig):
        raise ConfigError(
            f"source.kind is {source.kind!r}, which does not let care_live expose planes: prepare needs 'virtual' or "
            "'micromanager'; or record pairs yourself, and train: care-live train --input low/ --target high/"
        )
    if source.sequence is not None:
        raise ConfigError(
            "source.sequence is the plan of the run: prepare needs source.acquisition, with channels, z_planes and "
            "z_step_um"
        )
    return source


def _channels(of_run: Sequence[Channel], asked: Sequence[str], n: int) -> tuple[Channel, ...]:
    """Return the channels to expose: those that are restored, or the first ones; as many as are read together."""
    known = {one.preset: one for one in of_run}
    if unknown := [name for name in asked if name not in known]:
        raise ConfigError(f"[restore] names {', '.join(unknown)}, but the run has {', '.join(known)}")
    chosen = [known[name] for name in asked] or list(of_run)
    if len(chosen) < n:
        raise ConfigError(f"the network of the config reads {n} channels together, the run has {len(chosen)}")
    return tuple(chosen[:n])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
