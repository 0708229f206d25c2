"""What a person may set: one frozen section a room, unknown keys refused, units in the names.

Every default runs the virtual microscope with the shipped model. A room receives its own section, never
the whole tree. What belongs to a network (halo, percentiles, axes) is in its model card, not here.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

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
from care_live.acquisition_config import check_references, with_reference
from care_live.errors import ConfigError
from care_live.restore_config import ChannelConfig as ChannelConfig
from care_live.restore_config import ChannelNetwork as ChannelNetwork
from care_live.restore_config import NormaliseConfig as NormaliseConfig
from care_live.restore_config import RestoreConfig as RestoreConfig

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
    def _reference_belongs_to_the_source(cls, tree: Any) -> Any:
        """Take ``[reference]`` as what it is: a part of what is acquired."""
        if not isinstance(tree, dict) or not isinstance(tree.get("reference"), dict):
            return tree
        source = with_reference(dict(tree.get("source") or {}), tree["reference"])
        return {**{key: value for key, value in tree.items() if key != "reference"}, "source": source}

    @model_validator(mode="after")
    def _source_can_do_it(self) -> Self:
        check_references(self.source)
        if self.restore.policy == "wait" and not isinstance(self.source, ReplayConfig):
            raise ValueError(f"restore.policy 'wait' would hold up source {self.source.kind!r}; only replay can wait")
        return self


def load(path: Path) -> Config:
    """Read and check a TOML file; a ConfigError names a wrong key or value, or a file that is missing or not TOML."""
    return parse(read_toml(path, "config"), origin=str(path))


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return what a TOML file says; editors of Windows may have put a mark of UTF-8 at its start.

    Parameters
    ----------
    what : the file is, in a word

    Raises
    ------
    ConfigError
        It is missing, not UTF-8, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path} is not text in UTF-8: save it with that encoding") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def parse(tree: Mapping[str, object], *, origin: str) -> Config:
    """Check a tree of settings, as TOML or a command line gives it; a ConfigError names origin, key and what came."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {describe(error, within=Config)}") from error


def describe(error: ValidationError, *, within: type[BaseModel] | None = None) -> str:
    """Return all complaints of pydantic as one line: key, what came (unless it is the whole tree), what is wrong.

    Parameters
    ----------
    within : the settings that were read, which have the names that a misspelt one may mean
    """
    faults = ((one["loc"], one["input"], _wrong(one, within)) for one in error.errors())
    named = ((".".join(map(str, place)), came, wrong) for place, came, wrong in faults)
    return "; ".join(f"{key} = {came!r}: {wrong}" if key else wrong for key, came, wrong in named)


def _wrong(fault: ErrorDetails, within: type[BaseModel] | None) -> str:
    if fault["type"] == "union_tag_not_found":
        return "kind is missing: it says which source this is, such as 'virtual' or 'micromanager'"
    if fault["type"] == "extra_forbidden":
        known = () if within is None else _settings_at(within, fault["loc"][:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        meant = f"did you mean {near[0]}?" if near else f"wanted one of {', '.join(known)}"
        return f"there is no such setting{'; ' + meant if known else ''}"
    return "must be set" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")


def _settings_at(section: type[BaseModel], place: Sequence[int | str]) -> tuple[str, ...]:
    """Return the names of all settings at a place of the tree, as pydantic says it: keys, numbers, kinds of sources."""
    sections = [section]
    for step in place:
        inner = [one.model_fields[step].annotation for one in sections if step in one.model_fields]
        of_kind = [one for one in sections if _is_kind(one, step)]
        sections = [found for one in inner for found in _sections_in(one)] or of_kind or sections
    return tuple(sorted({name for one in sections for name in one.model_fields}))


def _sections_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections_in(part)]


def _is_kind(section: type[BaseModel], step: int | str) -> bool:
    return "kind" in section.model_fields and step in get_args(section.model_fields["kind"].annotation)
