"""What a person may set of restoration: which networks restore which channels, and how they are run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

from pydantic import Field, model_validator

from care_live.acquisition_config import Section

WantedProvider: TypeAlias = Literal["auto", "cuda", "tensorrt", "cpu", "openvino"]
"""What shall run a network."""


class NormaliseConfig(Section):
    mode: Literal["per-volume", "fixed", "locked-after-k", "ema"] = "locked-after-k"
    """How the range follows a time-lapse. *fixed* does not flicker, nor does *locked-after-k* once locked; the others
    do. Measured where the range was 100 counts and 0.44 % of the voxels became 300 counts brighter: all else moved by
    0.71 of the range at once (*per-volume*) or by 0.19, 0.15, 0.12, … from volume to volume (*ema*)."""
    low_counts: float | None = None
    """For *fixed*: camera counts that become 0."""
    high_counts: float | None = None
    """For *fixed*: camera counts that become 1."""
    lock_after_volumes: int = Field(default=3, ge=1)
    ema_weight: float = Field(default=0.1, gt=0, le=1)
    """For *ema*: of the newest volume."""
    noise_floor_counts: float = Field(default=8.0, ge=0)
    """A smaller range than this between the percentiles is an empty volume: the previous range is kept."""


_ALONE: Mapping[str, Any] = {"workers": 1, "devices": (), "scheduler": "", "remote_workers": 0}
"""Settings of one worker."""


class ChannelConfig(Section):
    """``[[restore.channel]]``: what becomes of one channel, or of several, named as in the run."""

    name: Annotated[str, Field(min_length=1)] | Annotated[tuple[str, ...], Field(min_length=1)]
    """A network that reads several channels together takes them in this order; another one reads each by itself."""
    model: Path | Literal["none"] | None = None
    """As ``restore.model``; *none* lets the channel pass through as it is recorded; not set: ``restore.model``."""
    provider: WantedProvider | None = None
    """What runs this network; not set: ``restore.provider``."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,) if isinstance(self.name, str) else self.name


class ChannelNetwork(NamedTuple):
    """A network of a run, and the names of the channels that it restores."""

    model: Path | None
    """None: the shipped worm model."""
    channels: tuple[str, ...]
    """None named: all that it can, by the names in its card, or the first ones."""
    provider: WantedProvider = "auto"
    """What shall run it."""


class RestoreConfig(Section):
    model: Path | None = None
    """ONNX file, or a shipped network by name: worm3d, live2d or forms; none: the shipped worm model."""
    channel: tuple[ChannelConfig, ...] = ()
    """Which network restores which channel, where that is not one for all: channels that no entry names pass through as
    they are. All networks run in one inference process, or in each of several."""
    policy: Literal["latest", "every-nth", "defer", "wait"] = "latest"
    """When restoration lags: newest volume first and the older ones later, every n-th, or all later.
    *wait* holds the source up instead: for recorded data, which can wait; a camera can't."""
    nth: int = Field(default=2, ge=1)
    channels: tuple[str, ...] = ()
    """Names of the run's channels that the network restores; the others pass through as they are. A network that reads
    several together takes them in this order. None: all, or those with the names in its card, or the first ones.
    For several networks see ``[[restore.channel]]``."""
    tile_px: tuple[int, int, int] | None = None
    """What the network reads at once, (z, y, x), halo included; none: the whole field while memory lasts."""
    provider: WantedProvider = "auto"
    """*auto*: CUDA if it works, else the CPU; there OpenVINO, if installed, for fast mode, and for whole volumes
    (streaming = "off") where it is measured to be quicker."""
    device: int = Field(default=0, ge=0)
    """Which GPU, as nvidia-smi numbers them."""
    threads: int = Field(default=0, ge=0)
    """Inference threads on the CPU; 0: as many as cores, shared out among workers."""
    workers: int = Field(default=1, ge=0, le=64)
    """Inference processes on this machine that restore at the same time; 0: all are on other machines."""
    devices: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs by number, one worker each; empty: *device*, or the CPU, for all workers."""
    scheduler: str = ""
    """A Dask scheduler whose workers restore, too: ``tcp://head:8786``, or the JSON file that it wrote."""
    remote_workers: int = Field(default=0, ge=0, le=64)
    """Inference processes on other machines, started by the Dask workers of *scheduler*."""
    remote_bind: str = "tcp://*:0"
    """They connect to this address of the daemon; port 0: a free one. For a firewall set a port."""
    normalise: NormaliseConfig = NormaliseConfig()
    streaming: Literal["auto", "on", "off"] = "auto"
    """Run the network plane by plane while the stack is still being recorded."""
    fast_mode: bool = False
    """Reduced precision, flagged in every message: TF32 on a GPU; with OpenVINO bfloat16 where the processor has it,
    else 8-bit integers."""
    evidence: bool = True
    """Compare every result with the photons that were counted, and the run with what the network was trained on."""
    lies: bool = False
    """For the demo of the trust light: a nucleus is put into time point 1, and one is erased from time point 2."""
    camera: Path | None = None
    """Camera file of ``care-live camera``; none: gain, offset and read noise are estimated from the first volumes."""
    quantised: bool = False
    """Results leave a GPU in 3 bytes a voxel, not 8: mean in 16 bits, scales in 8, within 2.2 %. For slow links."""
    hang_s: float = Field(default=2.0, gt=0)
    """Inference hangs, and is replaced, when it has work and makes no progress for this long: it uses no processor time
    and ends no run of the network. On a GPU a run may take 5 times as long as the slowest one before."""

    @model_validator(mode="after")
    def _one_worker_a_device(self) -> Self:
        if self.devices and "workers" in self.model_fields_set and self.workers != len(self.devices):
            raise ValueError(f"{self.workers} workers, but {len(self.devices)} devices: one worker runs on each device")
        if self.devices and "device" in self.model_fields_set:
            raise ValueError("device is the GPU of all workers, devices are one each: set one of the two")
        return self

    @model_validator(mode="after")
    def _remote_workers_have_a_scheduler(self) -> Self:
        if bool(self.scheduler) != bool(self.remote_workers):
            raise ValueError("scheduler and remote_workers belong together: set both, or neither")
        if not self.workers and not self.devices and not self.remote_workers:
            raise ValueError("workers = 0 leaves no worker: set remote_workers and scheduler, or at least one worker")
        return self

    @model_validator(mode="after")
    def _each_channel_once(self) -> Self:
        if self.channel and "channels" in self.model_fields_set:
            raise ValueError(
                "channels and [[restore.channel]] both say which channels are restored: set one of the two"
            )
        names = [name for entry in self.channel for name in entry.names]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"[[restore.channel]] names {', '.join(twice)} twice: a channel has one network, or none")
        if self.channel and all(entry.model == "none" for entry in self.channel):
            raise ValueError("every [[restore.channel]] passes through: give one of them a model")
        return self

    @property
    def networks(self) -> tuple[ChannelNetwork, ...]:
        """Return the networks of a run with their channels: the only place that says which network a channel has."""
        if not self.channel:
            return (ChannelNetwork(self.model, self.channels, self.provider),)
        named = ((entry.model or self.model, entry.names, entry.provider or self.provider) for entry in self.channel)
        return tuple(ChannelNetwork(model, names, provider) for model, names, provider in named if model != "none")

    def with_network(self, number: int, model: Path) -> Self:
        """Return these settings with another file for one of the networks."""
        if not self.channel:
            return self.model_copy(update={"model": model})
        entry = [entry for entry in self.channel if entry.model != "none"][number]
        changed = (one.model_copy(update={"model": model}) if one is entry else one for one in self.channel)
        return self.model_copy(update={"channel": tuple(changed)})

    def with_providers(self, providers: Sequence[str]) -> Self:
        """Return these settings with what runs each network, by its number."""
        if not self.channel:
            return self.model_copy(update={"provider": providers[0]})
        left = iter(providers)
        chosen = (
            one if one.model == "none" else one.model_copy(update={"provider": next(left)}) for one in self.channel
        )
        return self.model_copy(update={"channel": tuple(chosen)})

    def only(self, number: int) -> Self:
        """Return these settings with one of the networks, and none for the other channels."""
        return self.model_copy(update={**self.networks[number]._asdict(), "channel": ()})

    @property
    def each_worker(self) -> tuple[Self, ...]:
        """Return the settings of each worker of this machine: its own device, and its share of the cores."""
        devices = self.devices or (self.device,) * self.workers
        threads = self.threads or (0 if len(devices) < 2 else max(1, (os.cpu_count() or 1) // len(devices)))
        own = {**_ALONE, "threads": threads}
        return tuple(self.model_copy(update={**own, "device": device}) for device in devices)

    @property
    def each_remote_worker(self) -> tuple[Self, ...]:
        """Return the settings of each worker on another machine."""
        return (self.model_copy(update=_ALONE),) * self.remote_workers
