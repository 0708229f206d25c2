"""A network that is open for arrays and for files: what `care_live.open_network` returns."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from care_live.config import RestoreConfig
from care_live.errors import ConfigError, RestoreError
from care_live.images import LIMITS, Flag, ModelIdentity, Restored
from care_live.maps import Array, Head
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.offline.channel_engines import inputs, with_past
from care_live.offline.computed_with import ComputedWith, not_there
from care_live.offline.progress import ProgressBar
from care_live.offline.provenance import of_network
from care_live.offline.settings import NetworkSettings, is_numbers, restore_config
from care_live.offline.time_points import TimePoints
from care_live.recorded.array import ArrayRecording
from care_live.restore.channel_choice import ChannelChoice
from care_live.restore.engine import Engine
from care_live.verdict import Trust

_FULL = "TCZYX"


def open_network(model: str | Path | None = None, **settings: Unpack[NetworkSettings]) -> OpenedNetwork:
    """Open a network, to restore arrays with it.

    Parameters
    ----------
    model : ONNX file with a model card; None: the shipped network, trained on simulated worms
    **settings : see `NetworkSettings`

    Raises
    ------
    ModelError
        The file is not a network, or its card is wrong.
    ConfigError
        A setting has a value that it can't have.

    Examples
    --------
    >>> network = care_live.open_network("my_worm.onnx", threads=4)
    >>> result = network.restore(stack, axes="ZYX")
    >>> result.mean.shape == stack.shape
    True
    """
    return OpenedNetwork(file.located(None if model is None else Path(model)), restore_config(settings))


@dataclass(frozen=True, slots=True, eq=False)
class RestoredArray:
    """What a network made of one array, in the units of that array."""

    maps: Mapping[Head, Array]
    """The network's maps by name, each with the axes `axes`."""
    axes: str
    """Of every map: those of the array, and C where the network gives several channels of one."""
    voxel_size_um: tuple[float, float, float]
    """(z, y, x), micrometres; z differs from the array's where the network adds planes."""
    ranges: Mapping[tuple[int, int], tuple[float, float]]
    """Pixel values that became 0 and 1, by time point and channel."""
    flags: Mapping[int, frozenset[Flag]]
    """What to know before trusting it, by time point; see `care_live.images.Flag`."""
    trust: Mapping[tuple[int, int], Trust | None]
    """Verdict on each restored volume by time point and channel, against the photons that were counted; None: pixels
    that are no camera counts are not examined."""
    model: ModelIdentity
    card: ModelCard
    limits: str = LIMITS

    @property
    def mean(self) -> Array:
        """The restored array."""
        return self.maps["mean"]

    @property
    def laplace_scale(self) -> Array | None:
        """Laplace scale b > 0 per voxel, in the units of the array; None where the network gives none."""
        return self.maps.get("laplace_scale")

    @property
    def disagreement(self) -> Array | None:
        """Disagreement of an ensemble in [0, 1] per voxel; None for a single network."""
        return self.maps.get("disagreement")

    def __repr__(self) -> str:
        return f"RestoredArray({', '.join(self.maps)}; {_size(self.mean, self.axes)}; network {self.model.name})"

    def _repr_html_(self) -> str:
        flags = sorted({flag for found in self.flags.values() for flag in found})
        rows = {
            "size": _size(self.mean, self.axes),
            "voxel (z, y, x)": " × ".join(f"{um:.4g}" for um in self.voxel_size_um) + " µm",
            "maps": ", ".join(self.maps),
            "network": f"{self.model.name} ({self.model.sha256[:12]})",
            "flags": ", ".join(flags) or "no flag",
            "trust": ", ".join(sorted({one.colour for one in self.trust.values() if one})) or "not examined",
            "limits": self.limits,
        }
        return as_table(rows)


class OpenedNetwork:
    """A network, checked and ready. Owned by one thread; it keeps its memory until it is deleted.

    Parameters
    ----------
    model : ONNX file
    config : how to run it

    Raises
    ------
    ModelError
        The file is not a network, or its card is wrong.
    """

    def __init__(self, model: Path, config: RestoreConfig) -> None:
        self.path = model
        self.config = config
        self.card: ModelCard = file.read_card(model)
        self.identity: ModelIdentity = file.identity(model)
        self._engines: dict[tuple[bool, str], Engine] = {}
        """By kind of pixels and provider."""

    def restore(
        self,
        array: NDArray[Any],
        axes: str | None = None,
        *,
        voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
        progress: bool = True,
    ) -> RestoredArray:
        """Restore an array.

        Parameters
        ----------
        array : of numbers: uint8, uint16, int16, uint32 and float32 as they are, other types as float32
        axes : letters of TCZYX in the order of the array, such as ``"TZYX"`` or ``"CYXZ"``; for two and three axes
            ``"YX"`` and ``"ZYX"`` are meant where they are left out
        voxel_size_um : (z, y, x), micrometres
        progress : show a bar on a terminal and in a notebook

        Returns
        -------
        Maps with the axes of the array. A range is measured anew for each call.

        Raises
        ------
        ConfigError
            The axes don't fit the array.
        SourceError
            Its type of pixels cannot be restored.
        RestoreError
            It has another number of channels than the network, pixels that are no numbers, or inference failed.
        """
        recording = ArrayRecording(array, axes, voxel_size_um=voxel_size_um)
        engine = self.engine(recording.contents.plan.dtype)
        engine.memories = {}
        time_points = TimePoints(recording, run_id="array")
        results: list[tuple[Restored, ...]] = []
        with ProgressBar(len(time_points.all), shown=progress) as bar:
            for time_point in time_points.all:
                earlier = time_points.before(time_point, self.card.past)
                groups = inputs(time_points.read(time_point), engine)
                engine.forget_camera()
                read = [with_past(group, engine, earlier) for group in groups]
                results.append(tuple(result for volumes in read for result in engine.restore(volumes)))
                bar.step()
        return self._gathered(results, recording.axes)

    def engine(self, dtype: str, before: ComputedWith | None = None, *, channels: Sequence[str] = ()) -> Engine:
        """Return what restores pixels of a type; made at the first call.

        Parameters
        ----------
        before : what computed the first part of a result that goes on
        channels : of the recording, by name; this network takes them by their number

        Raises
        ------
        ConfigError
            That is not there any more.
        """
        numbers, provider = is_numbers(dtype), self.config.provider if before is None else before.provider
        if (numbers, provider) not in self._engines:
            engine = self._open(numbers, before)
            self._engines[numbers, provider] = self._engines[numbers, engine.provider] = engine
        engine = self._engines[numbers, provider]
        if before is not None and before != ComputedWith.of(engine):
            raise not_there(before, f"this machine computes with {ComputedWith.of(engine)}")
        return engine

    def computed_with(self, dtype: str) -> ComputedWith:
        """Return what computes pixels of a type here."""
        return ComputedWith.of(self.engine(dtype))

    def choose(self, of_recording: Sequence[str]) -> ChannelChoice:
        """Return which channels are read together: any number, each alone, or as many as the card has."""
        return ChannelChoice.first(len(self.card.channels_in))

    def n_outputs(self, number: int, n_channels: int) -> int:
        """Return how many channels are made of a recording's."""
        return n_channels if len(self.card.channels_in) == 1 else len(self.card.channels_out)

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The card, as of the only network."""
        return (self.card,)

    @property
    def provenance(self) -> dict[str, Any]:
        """What results say of the network, JSON-able."""
        return of_network(self.identity, self.path)

    def _open(self, numbers: bool, before: ComputedWith | None) -> Engine:
        if before is None or before.provider == self.config.provider:
            return Engine(self.path, self.config, numbers=numbers)
        try:
            chosen = self.config.model_copy(update={"provider": before.provider})
            return Engine(self.path, chosen, numbers=numbers)
        except (ConfigError, RestoreError) as error:
            raise not_there(before, str(error)) from error

    def _gathered(self, results: list[tuple[Restored, ...]], axes: str) -> RestoredArray:
        first = results[0][0]
        heads = [head for head in first.maps if all(head in one.maps for row in results for one in row)]
        maps = {
            head: _with_axes(np.stack([np.stack([one.maps[head] for one in row]) for row in results]), axes)
            for head in heads
        }
        return RestoredArray(
            maps={head: array for head, (array, _) in maps.items()},
            axes=maps["mean"][1],
            voxel_size_um=first.voxel_size_um,
            ranges={(t, one.key.c): (one.low, one.high) for t, row in enumerate(results) for one in row},
            flags={t: frozenset().union(*(one.flags for one in row)) for t, row in enumerate(results)},
            trust={(t, one.key.c): one.trust for t, row in enumerate(results) for one in row},
            model=self.identity,
            card=self.card,
        )

    def __repr__(self) -> str:
        return f"OpenedNetwork({self.card.name!r}, {self.card.task}, axes {self.card.axes}, maps {self.card.heads})"

    def _repr_html_(self) -> str:
        rows = {
            "network": f"{self.card.name} ({self.identity.sha256[:12]})",
            "task": f"{self.card.task}, axes {self.card.axes}",
            "channels": f"{', '.join(self.card.channels_in)} → {', '.join(self.card.channels_out)}",
            "maps": ", ".join(self.card.heads),
            "trained on": self.card.training.specimen or "not stated",
            "limits": self.card.limits,
        }
        return as_table(rows)


def as_table(rows: Mapping[str, str]) -> str:
    """Return rows of text as HTML, for a notebook; nothing in them is taken for HTML."""
    lines = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{''.join(lines)}</table>"


def _with_axes(array: Array, axes: str) -> tuple[Array, str]:
    """Return (t, c, z, y, x) with the axes that were given, in their order, and these.

    Axes that were not given have one step and go, except C where the network gives several channels of one, and Z where
    it adds planes to a single one: they come first.
    """
    missing = [axis for axis in _FULL if axis not in axes]
    kept = [axis for axis in _FULL if axis in axes or array.shape[_FULL.index(axis)] > 1]
    array = array.squeeze(tuple(_FULL.index(axis) for axis in missing if axis not in kept))
    added = [axis for axis in missing if axis in kept]
    order = "".join(added) + axes
    return np.ascontiguousarray(array.transpose([kept.index(axis) for axis in order])), order


def _size(array: Array, axes: str) -> str:
    return ", ".join(f"{axis} {n}" for axis, n in zip(axes, array.shape, strict=True))
