"""What a person may set of an acquisition: plan, microscope, reference planes, or where its images come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """Base of every section: frozen, and a typo is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(Section):
    """One channel of an acquisition."""

    preset: str = "DAPI"
    """Preset of the channel group, as in Micro-Manager's configuration."""
    exposure_ms: float = Field(default=10.0, gt=0)


class Position(Section):
    """One stage position."""

    name: str = Field(min_length=1)
    x_um: float = 0.0
    y_um: float = 0.0


MDASequence: TypeAlias = Path | dict[str, Any]
"""A useq.MDASequence: a file, YAML or JSON, or its keys right here."""


class ReferenceConfig(Section):
    """Planes that are exposed a second time at full light, next to their low-light twins.

    From them the error and the coverage of the run are measured while it goes on. The dose that they cost is
    ``planes · light / (every · z_planes)``: with these defaults and 32 planes 3.75 %.
    """

    every: int = Field(default=25, ge=1)
    """Time points from one reference to the next; the first is at time point 0."""
    planes: int = Field(default=1, ge=1)
    """Of a stack; their heights change from reference to reference."""
    light: float = Field(default=30.0, ge=1)
    """How many times more light they get: they are exposed longer."""
    presets: tuple[tuple[str, str], ...] = ()
    """``{GFP = "GFP full"}``: presets whose laser is ``light`` times as strong. Such channels are exposed as long as
    the twins, so that what moves is not blurred."""

    @field_validator("presets", mode="before")
    @classmethod
    def _pairs(cls, given: Any) -> Any:
        return tuple(given.items()) if isinstance(given, Mapping) else given

    def preset_of(self, preset: str) -> str | None:
        """Return the preset of the second exposure of a channel; None: it is exposed longer."""
        return dict(self.presets).get(preset)


class AcquisitionConfig(Section):
    """What to acquire, in short: time points, positions, channels, z. A ``sequence`` can say more."""

    time_points: int = Field(default=5, ge=1)
    first_time_point: int = Field(default=0, ge=0)
    """Time points before it are recorded already; a resumed run sets this, so that no plane is exposed twice."""
    interval_s: float = Field(default=0.0, ge=0)
    positions: tuple[Position, ...] = ()
    """Empty: stay where the stage is."""
    channel_group: str = "Channel"
    channels: tuple[Channel, ...] = (Channel(),)
    z_planes: int = Field(default=32, ge=1)
    z_start_um: float = 0.0
    z_step_um: float = Field(default=1.0, gt=0)
    pixel_size_um: float = Field(default=0.5, gt=0)
    hardware_sequence: bool = False
    """Let the camera and the stage run a stack without the computer in between, where they can."""
    reference: ReferenceConfig | None = None
    """In a config file it may stand as a section of its own, ``[reference]``."""

    @property
    def dose_of_references(self) -> float:
        """Exposure time of all reference planes over that of all others."""
        if self.reference is None:
            return 0.0
        return self.reference.planes * self.reference.light / (self.reference.every * self.z_planes)


MAX_REFERENCE_DOSE = 1.0
"""More than doubling the light of a run is a mistake in the settings."""


def reference_of(source: BaseModel) -> ReferenceConfig | None:
    """Return which planes a source exposes a second time; None: it exposes none."""
    given: ReferenceConfig | None = getattr(getattr(source, "acquisition", source), "reference", None)
    return given


def check_references(source: Section) -> None:
    """Refuse reference planes of a run that say nothing, or that cost too much light."""
    wanted, acquisition = reference_of(source), getattr(source, "acquisition", None)
    if wanted is None:
        return
    if wanted.presets and isinstance(source, VirtualConfig):
        raise ValueError("the virtual microscope has no preset of another laser: leave reference.presets out")
    if wanted.light <= 1:
        raise ValueError("reference.light is 1: a reference needs more light than the plane that it shows once more")
    if acquisition is None or getattr(source, "sequence", None) is not None:
        return  # the source reads the sequence before it exposes anything, and counts its light then
    if wanted.planes > acquisition.z_planes:
        raise ValueError(f"reference.planes is {wanted.planes}: a stack has {acquisition.z_planes} planes")
    if acquisition.dose_of_references > MAX_REFERENCE_DOSE:
        raise ValueError(
            f"the reference planes would cost {acquisition.dose_of_references:.0%} more light: take a larger "
            "reference.every, or less reference.light"
        )


def with_reference(source: dict[str, Any], reference: Any) -> dict[str, Any]:
    """Return the settings of a source with ``[reference]`` where they have it.

    Raises
    ------
    ValueError
        care_live does not drive such a source.
    """
    kind = source.get("kind", "virtual")
    if kind in ("virtual", "micromanager"):
        return {**source, "acquisition": {**dict(source.get("acquisition") or {}), "reference": reference}}
    if kind == "pymmcore-plus":
        return {**source, "reference": reference}
    raise ValueError(
        "care_live exposes [reference] planes with sources 'virtual', 'micromanager' and 'pymmcore-plus'; source.kind "
        f"is {kind!r}: expose them yourself, with an axis 'reference' that is 1 (care_live.source.reference_planes)"
    )


def _check_one_plan(acquisition: AcquisitionConfig, sequence: MDASequence | None) -> None:
    """Refuse settings of ``acquisition`` that a sequence makes void."""
    void = acquisition.model_fields_set - _BESIDE_A_SEQUENCE
    if sequence is not None and void:
        raise ValueError(f"source.sequence is the plan: take {sorted(void)} out of source.acquisition")


_BESIDE_A_SEQUENCE = frozenset({"pixel_size_um", "hardware_sequence", "reference"})
"""What a useq sequence does not say."""


class PrepareConfig(Section):
    """What ``care-live prepare`` exposes of today's specimen, and how long it trains; every default is sensible."""

    pairs: int = Field(default=6, ge=4)
    """Volumes that are exposed twice, each plane right after its twin. A quarter of them, at least 2, is held out."""
    second: Literal["bright", "dim"] = "bright"
    """The second exposure: *light* times as long; or *dim* like the first, for a specimen that stands no more light."""
    light: float = Field(default=30.0, gt=1)
    """How many times longer a bright exposure is."""
    interval_s: float = Field(default=0.0, ge=0)
    """From one time point to the next. A specimen that has moved meanwhile shows more of its kind."""
    positions: tuple[Position, ...] = ()
    """Empty: those of the acquisition. Several places show more of a specimen that stands still than time points."""
    minutes: float = Field(default=10.0, gt=0)
    """Of training; what comes before and after takes two to four more."""
    start: Literal["auto", "nothing"] | Path = "auto"
    """Network to begin with. *auto*: that of ``restore.model`` where it restores this specimen better than a filter
    and reads standardised images, as those of ``prepare`` do; else ``forms``. *nothing*: random weights."""
    max_shift_px: float = Field(default=1.5, ge=0)
    """Pairs whose exposures are shifted more than this against each other are left out."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Of the training. *cpu* leaves the GPU to a run that goes on beside it."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the training; 0: half of the cores."""


class VirtualConfig(Section):
    """A real Micro-Manager core whose camera looks at a simulated specimen."""

    kind: Literal["virtual"] = "virtual"
    acquisition: AcquisitionConfig = AcquisitionConfig()
    sequence: MDASequence | None = None
    """The plan, in place of ``acquisition``."""
    specimen: Literal["worm", "beads", "tubules", "granules"] = "worm"
    shape_px: tuple[int, int] = (256, 256)
    seed: int = 1
    laser_power: float = Field(default=1.0, gt=0)
    """Relative laser power: 1 is the low dose at which restoration is worth its while, 60 a bright reference."""
    specimen_step_s: float = Field(default=1.0, ge=0)
    """How much the specimen ages from one time point to the next; it stands still within one."""
    plane_rate_hz: float = Field(default=0.0, ge=0)
    """Planes per second at most; 0: as fast as exposure and core allow."""
    misbehave: Literal["no", "drop", "duplicate", "late", "stall", "raise", "resize", "saturate"] = "no"
    misbehave_at_plane: int = Field(default=40, ge=0)
    """Which exposure of the run goes wrong."""

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        _check_one_plan(self.acquisition, self.sequence)
        return self


class MicroManagerConfig(Section):
    """pycromanager drives Micro-Manager."""

    kind: Literal["micromanager"] = "micromanager"
    backend: Literal["python", "java"] = "python"
    """*python*: pycromanager starts a core itself. *java*: Micro-Manager runs already, server on ``port``."""
    acquisition: AcquisitionConfig = AcquisitionConfig()
    sequence: MDASequence | None = None
    """The plan, in place of ``acquisition``; of it, ``pixel_size_um`` and ``hardware_sequence`` still hold."""
    app_path: str = ""
    """Folder of the device adapters (python); empty: the simulated devices of mm-test-adapters."""
    hardware_config: str = "MMConfig_demo.cfg"
    """Micro-Manager's .cfg file; relative to ``app_path``."""
    port: int = Field(default=4827, ge=1, le=65535)
    circular_buffer_mib: int = Field(default=1024, ge=16)

    @model_validator(mode="after")
    def _one_plan(self) -> Self:
        _check_one_plan(self.acquisition, self.sequence)
        return self


class PymmcorePlusConfig(Section):
    """Run a useq sequence with pymmcore-plus."""

    kind: Literal["pymmcore-plus"] = "pymmcore-plus"
    sequence: MDASequence
    hardware_config: str = "MMConfig_demo.cfg"
    reference: ReferenceConfig | None = None
    """In a config file it stands as a section of its own, ``[reference]``."""


class StudioConfig(Section):
    """Restore what you acquire in the window of a running Micro-Manager; each acquisition is a run."""

    kind: Literal["studio"] = "studio"
    port: int = Field(default=4827, ge=1, le=65535)
    """Of Micro-Manager's server: tick *Tools > Options > Run server on port 4827* there."""


class FolderConfig(Section):
    """Follow the data set that Micro-Manager is writing, in any of its window's three formats."""

    kind: Literal["folder", "ndtiff"] = "folder"
    """*ndtiff* is the name that it had when it could follow that format only."""
    directory: Path
    """The data set, or the folder in which the next one will appear."""
    idle_s: float = Field(default=30.0, gt=0)
    """After this time without a new image the run has ended."""


class ReplayConfig(Section):
    """Play a recorded data set as if it were being acquired."""

    kind: Literal["replay"] = "replay"
    path: Path
    axes: str | None = None
    """Needed for plain TIFF stacks: letters of TPCZYX as the file has them, YX last, such as ``TZYX``."""
    voxel_size_um: tuple[float, float, float] | None = None
    """(z, y, x); empty: as in the file."""
    speed: Literal["recorded", "fastest"] | Annotated[float, Field(gt=0)] = "fastest"
    """Planes per second, or the recorded times, or as fast as possible."""
    loops: int = Field(default=1, ge=0)
    """How often it is played; 0: without end."""
