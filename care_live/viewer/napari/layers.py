"""Layers of one viewer, made once and given new pixels; to be called in the GUI thread only."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from care_live.images import LIMITS
from care_live.maps import kind_of
from care_live.reasons import described
from care_live.verdict import Doubt
from care_live.viewer.napari.doubt_marks import COLOURS, DoubtMarks
from care_live.viewer.view_records import RunInfo, ViewedVolume
from care_live.wire.arrays import Product

if TYPE_CHECKING:
    import napari

_CHANNEL_MAPS = ("green", "magenta", "cyan", "yellow")
"""Distinct for the colour-blind, also when added."""
_LINE_LENGTH = 64
"""Of the words over the picture, in characters: a small canvas shows all of them."""
_CLOSE_PX = 4.0
"""Of the screen, for a voxel of a place that is looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One layer's content."""

    channel: int
    what: Product
    pixels: NDArray[Any]
    """(z, y, x)."""
    window: tuple[float, float]
    """Shown black and white."""
    voxel_size_um: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All layers of one time point and position."""

    volumes: tuple[ViewedVolume, ...]
    drawings: tuple[Drawing, ...]


class Layers:
    """The layers of a run, and the line with the limits of their use."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: dict[tuple[int, Product], Any] = {}
        self._voxel_size_um = (1.0, 1.0, 1.0)
        self._n_arranged = 0
        self._marks = DoubtMarks(viewer)
        viewer.scale_bar.visible = True
        viewer.text_overlay.visible = True
        viewer.text_overlay.position = "top_left"
        viewer.text_overlay.font_size = 9
        viewer.text_overlay.color = "#f3cf85"

    def show(self, prepared: Prepared, info: RunInfo) -> bool:
        """Give every layer its new pixels; return whether the number of layers has changed."""
        several = len({drawing.channel for drawing in prepared.drawings}) > 1
        for drawing in prepared.drawings:
            self._show_one(drawing, info, several=several)
        self._hide_what_is_missing(prepared)
        self._mark(prepared)
        self._viewer.text_overlay.text = caption(prepared, info)
        return self._arrange()

    def switch_marks(self, visible: bool) -> None:
        """Mark what contradicts the photons, or do not."""
        self._marks.switch(visible)

    def go_to(self, doubt: Doubt) -> None:
        """Show one place: its plane, in the middle and close."""
        voxel_size_um = self._voxel_size_um
        z, y, x = (at * um for at, um in zip(doubt.place_px, voxel_size_um, strict=True))
        self._viewer.dims.set_point(0, z)
        self._viewer.camera.center = (z, y, x)
        self._viewer.camera.zoom = max(self._viewer.camera.zoom, _CLOSE_PX / voxel_size_um[2])

    def _mark(self, prepared: Prepared) -> None:
        by_channel = {shown.key.c: shown.trust.doubts if shown.trust else () for shown in prepared.volumes}
        self._voxel_size_um = prepared.volumes[0].voxel_size_um
        images = {
            layer: by_channel.get(c, ()) for (c, _), layer in self._layers.items() if layer in self._viewer.layers
        }
        self._marks.show(images, self._voxel_size_um)

    def _show_one(self, drawing: Drawing, info: RunInfo, *, several: bool) -> None:
        place = (drawing.channel, drawing.what)
        layer = self._layers.get(place)
        if layer is None or layer not in self._viewer.layers:
            self._layers[place] = self._add(drawing, info, several=several)
            return
        automatic = tuple(layer.contrast_limits) == layer.metadata["care_live_window"]
        layer.data = drawing.pixels
        layer.scale = drawing.voxel_size_um
        if automatic:  # a person's contrast stays
            layer.contrast_limits = drawing.window
            layer.metadata["care_live_window"] = tuple(layer.contrast_limits)
        layer.visible = True

    def _add(self, drawing: Drawing, info: RunInfo, *, several: bool) -> Any:
        colours = _CHANNEL_MAPS[drawing.channel % len(_CHANNEL_MAPS)] if several else "gray"
        network = info.network_of(drawing.channel)
        channel = info.channels[drawing.channel] if drawing.channel < len(info.channels) else str(drawing.channel)
        layer = self._viewer.add_image(
            drawing.pixels,
            name=_label(drawing.what) + (f" · {channel}" if several else ""),
            colormap=_colormap(drawing.what) or colours,
            contrast_limits=drawing.window,
            scale=drawing.voxel_size_um,
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
            blending="additive" if several else "translucent",
            metadata={"limits": network.limits, "model": network.name},
        )
        layer.metadata["care_live_window"] = tuple(layer.contrast_limits)
        return layer

    def _arrange(self) -> bool:
        """Put new layers side by side, for a person who looks at a grid."""
        before, self._n_arranged = self._n_arranged, len(self._viewer.layers)
        if before == self._n_arranged:
            return False
        self._viewer.grid.stride = self._marks.n_layers_of_an_image
        self._viewer.grid.shape = (1, -(-self._n_arranged // self._marks.n_layers_of_an_image))
        return True

    def _hide_what_is_missing(self, prepared: Prepared) -> None:
        """A volume that was not restored must not stand under another one's restored pixels."""
        there = {(drawing.channel, drawing.what) for drawing in prepared.drawings}
        for place, layer in self._layers.items():
            if place not in there and layer in self._viewer.layers:
                layer.visible = False


def _label(product: Product) -> str:
    kind = kind_of(product)
    return product if kind is None else kind.label


def _colormap(product: Product) -> Any:
    """Return the colours of a map that is no image of the specimen; empty: it is one."""
    kind = kind_of(product)
    if kind is None or kind.coding == "affine":
        return ""
    if kind.may_be_negative:
        from napari.utils import Colormap

        return Colormap([COLOURS["invented"], "black", COLOURS["missing"]], name="invented to missing")
    return "inferno" if kind.unit == "counts" else "magma"


def caption(prepared: Prepared, info: RunInfo) -> str:
    """Return the words over the picture: which volume, its state and flags, the network and its limits."""
    first = prepared.volumes[0]
    states = sorted({shown.state for shown in prepared.volumes})
    flags = sorted({flag for shown in prepared.volumes for flag in shown.flags})
    networks = dict.fromkeys(shown.model.name if shown.model else "not restored" for shown in prepared.volumes)
    trusts = sorted({f"trust {shown.trust.colour}" for shown in prepared.volumes if shown.trust is not None})
    volume = " · ".join([info.run_id, f"t {first.key.t}", *states, *trusts, *flags])
    lines = [volume, described(first.choice), ", ".join(networks), info.limits or LIMITS]
    return "\n".join(textwrap.fill(line, _LINE_LENGTH) for line in lines if line)
