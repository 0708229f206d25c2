"""What a person may set: one frozen section a room, unknown keys refused, units in the names.

Every default runs the virtual microscope with the shipped model. A room receives its own section, never
the whole tree. What belongs to a network (halo, percentiles, axes) is in its model card, not here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from care_live import default_ports
from care_live.acquisition_config import AcquisitionConfig as AcquisitionConfig
from care_live.acquisition_config import Channel as Channel
from care_live.acquisition_config import FolderConfig as FolderConfig
from care_live.acquisition_config import MDASequence as MDASequence
from care_live.acquisition_config import MicroManagerConfig as MicroManagerConfig
from care_live.acquisition_config import Position as Position
from care_live.acquisition_config import PrepareConfig as PrepareConfig
from care_live.acquisition_config import PymmcorePlusConfig as PymmcorePlusConfig
from care_live.acquisition_config import ReferenceConfig as ReferenceConfig
from care_live.acquisition_config import ReplayConfig as ReplayConfig
from care_live.acquisition_config import Section as Section
from care_live.acquisition_config import StudioConfig as StudioConfig
from care_live.acquisition_config import VirtualConfig as VirtualConfig
from care_live.acquisition_config import check_references
from care_live.errors import ConfigError

# -- source -----------------------------------------------------------------------------------------------------


class RemoteConfig(Section):
    """A tap on this or another machine sends the frames."""

    kind: Literal["remote"] = "remote"
    bind: str = default_ports.TAPS
    z_planes: int | None = Field(default=None, ge=1)
    """Planes of each stack, for a tap that cannot send its plan."""
    server_key_file: Path | None = None
    """CURVE secret key; required unless the address is loopback."""
    authorized_keys_file: Path | None = None


class LiveSourceConfig(Section):
    """A core that a person drives shows Live and snaps; its acquisitions in between are runs."""

    kind: Literal["live"] = "live"
    microscope: VirtualConfig | None = None
    """A virtual microscope that care_live starts in Live, and that ``care-live stage`` drives; none: yours."""
    bind: str = default_ports.LIVE
    """`care_live.source.live` connects here."""
    bind_runs: str = default_ports.TAPS
    """Taps and observers send acquisitions here."""
    z_planes: int | None = Field(default=None, ge=1)
    """Planes of each stack, for a tap that cannot send its plan."""
    server_key_file: Path | None = None
    """CURVE secret key; required unless the addresses are loopback."""
    authorized_keys_file: Path | None = None


SourceConfig: TypeAlias = Annotated[
    VirtualConfig
    | MicroManagerConfig
    | PymmcorePlusConfig
    | FolderConfig
    | StudioConfig
    | ReplayConfig
    | RemoteConfig
    | LiveSourceConfig,
    Field(discriminator="kind"),
]


SHOW_LIVE = frozenset({"live", "studio"})
"""Kinds of sources that show Live between their runs."""


# -- assemble ---------------------------------------------------------------------------------------------------


class AssembleConfig(Section):
    deadline_s: float = Field(default=30.0, gt=0)
    """A volume closes incomplete after this time without a plane of it."""
    memory_mib: int = Field(default=2048, ge=1)
    """For open volumes and those that are not yet stored; a volume that does not fit is refused whole."""


# -- restore ----------------------------------------------------------------------------------------------------


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


class RestoreConfig(Section):
    model: Path | None = None
    """ONNX file; none: the shipped worm model."""
    policy: Literal["latest", "every-nth", "defer", "wait"] = "latest"
    """When restoration lags: newest volume first and the older ones later, every n-th, or all later.
    *wait* holds the source up instead: for recorded data, which can wait; a camera can't."""
    nth: int = Field(default=2, ge=1)
    channels: tuple[str, ...] = ()
    """Names of the run's channels that the network restores; the others pass through as they are. A network that reads
    several together takes them in this order. None: all, or those with the names in its card, or the first ones."""
    tile_px: tuple[int, int, int] | None = None
    """What the network reads at once, (z, y, x), halo included; none: the whole field while memory lasts."""
    provider: Literal["auto", "cuda", "tensorrt", "cpu", "openvino"] = "auto"
    """*auto*: CUDA if it works, else the CPU; there OpenVINO, if installed, for fast mode, and for whole volumes
    (streaming = "off") where it is measured to be quicker."""
    device: int = Field(default=0, ge=0)
    """Which GPU, as nvidia-smi numbers them."""
    threads: int = Field(default=0, ge=0)
    """Inference threads on the CPU; 0: as many as cores, shared out among workers."""
    workers: int = Field(default=1, ge=1, le=64)
    """Inference processes that restore at the same time."""
    devices: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """GPUs by number, one worker each; empty: *device*, or the CPU, for all workers."""
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

    @property
    def each_worker(self) -> tuple[Self, ...]:
        """Return the settings of each worker: its own device, and its share of the cores."""
        devices = self.devices or (self.device,) * self.workers
        threads = self.threads or (0 if len(devices) == 1 else max(1, (os.cpu_count() or 1) // len(devices)))
        own = {"workers": 1, "devices": (), "threads": threads}
        return tuple(self.model_copy(update={**own, "device": device}) for device in devices)


# -- live -------------------------------------------------------------------------------------------------------


class LiveConfig(Section):
    """How Live is shown between the runs of a source that has it."""

    restoration: Literal["network", "average"] = "network"
    """The network of the runs, or a running average without any network."""
    average_frames: int = Field(default=8, ge=1)
    """Of the running average."""
    sweep_planes: int = Field(default=8, ge=1, le=64)
    """Planes of a focus sweep that a 3D network reads."""
    region_px: int = Field(default=512, ge=64)
    """Of a larger frame the centre of this size is restored at full rate; the whole field follows part by part."""
    keep_s: float = Field(default=20.0, gt=0)
    """Of Live that stay in memory, so that ``care-live keep`` can write them as a run; nothing is stored before."""
    keep_mib: int = Field(default=512, ge=0)
    """Memory for them, at most."""
    lag_ms: float = Field(default=150.0, gt=0)
    """While the network has one frame for longer than this, every further frame is shown as it came."""


# -- store ------------------------------------------------------------------------------------------------------


class StoreConfig(Section):
    directory: Path = Path("runs")
    """Runs are written to ``directory/RUN_ID``."""
    restored_mantissa_bits: int = Field(default=10, ge=4, le=23)
    """Mantissa bits that restored float32 keeps; raw is always lossless."""
    codec: Literal["auto", "zstd", "lz4", "none"] = "auto"
    """How raw planes are packed, without loss: *zstd* smallest, *lz4* with the least work, *none* not at all. *auto*
    picks zstd or lz4 for each volume, by the load of the machine and by what storing takes; the journal says which."""
    keep_free_mib: int = Field(default=512, ge=0)
    """Below this, restored volumes are shed first; below half of it raw volumes wait in memory."""
    full_wait_s: float = Field(default=60.0, ge=0)
    """How long raw volumes wait for a disk that is full or missing, before the run stops."""


# -- publish ----------------------------------------------------------------------------------------------------


class PublishConfig(Section):
    bind: str = default_ports.BROADCAST
    """PUB: every restored volume, at most once."""
    bind_pull: str = default_ports.WATCHERS
    """ROUTER: newest after N for viewers, replay by sequence for recorders; the one address that watchers need."""
    raw: bool = True
    """Broadcast the raw volumes, too; a viewer that requests them gets them in any case."""
    replay_mib: int = Field(default=512, ge=0)
    """Memory for volumes that a recorder may still request; older ones come from the store."""
    server_key_file: Path | None = None
    """CURVE secret key; required unless the addresses are loopback."""
    authorized_keys_file: Path | None = None


# -- daemon and viewer ------------------------------------------------------------------------------------------


class DaemonConfig(Section):
    status_bind: str = default_ports.STATUS
    """HTTP: /livez, /readyz, /status, /metrics."""
    drain_s: float = Field(default=60.0, gt=0)
    """How long the first Ctrl-C waits for the volumes that have come."""


class WebConfig(Section):
    bind: str = default_ports.PAGE


class Config(Section):
    """The whole file."""

    source: SourceConfig = VirtualConfig()
    assemble: AssembleConfig = AssembleConfig()
    restore: RestoreConfig = RestoreConfig()
    live: LiveConfig = LiveConfig()
    store: StoreConfig = StoreConfig()
    publish: PublishConfig = PublishConfig()
    daemon: DaemonConfig = DaemonConfig()
    web: WebConfig = WebConfig()
    prepare: PrepareConfig = PrepareConfig()
    run_id: str | None = Field(default=None, pattern=r"^[0-9A-Za-z_-]{1,64}$")
    """Name of the run; none: made from the date and time. One that was interrupted goes on."""
    resume: bool = False
    """Go on even with a run that has finished; without this it is refused, so that no volume is dropped unseen."""

    @model_validator(mode="before")
    @classmethod
    def _reference_belongs_to_the_acquisition(cls, tree: Any) -> Any:
        """Take ``[reference]`` as what it is: a part of what is acquired."""
        if not isinstance(tree, dict) or not isinstance(tree.get("reference"), dict):
            return tree
        source = dict(tree.get("source") or {})
        source["acquisition"] = {**dict(source.get("acquisition") or {}), "reference": tree["reference"]}
        return {**{key: value for key, value in tree.items() if key != "reference"}, "source": source}

    @model_validator(mode="after")
    def _source_can_do_it(self) -> Self:
        check_references(self.source)
        if self.restore.policy == "wait" and not isinstance(self.source, ReplayConfig):
            raise ValueError(f"restore.policy 'wait' would hold up source {self.source.kind!r}; only replay can wait")
        return self


def load(path: Path) -> Config:
    """Read and check a TOML file; a ConfigError names a wrong key or value, or a file that is missing or not TOML."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return parse(tree, origin=str(path))


def parse(tree: Mapping[str, object], *, origin: str) -> Config:
    """Check a tree of settings, as TOML or a command line gives it; a ConfigError names origin, key and what came."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """Return all complaints of pydantic as one line: key, what came (unless it is the whole tree), what is wrong."""
    faults = ((".".join(map(str, one["loc"])), one["input"], one["msg"]) for one in error.errors())
    return "; ".join(f"{key} = {came!r}: {wrong}" if key else wrong for key, came, wrong in faults)
