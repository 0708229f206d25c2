"""Marks over every image where a volume contradicts the photons; to be called in the GUI thread only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from care_live.verdict import Doubt

if TYPE_CHECKING:
    import napari

COLOURS: Mapping[str, str] = {"invented": "#ff7a1a", "missing": "#5cc8ff"}
"""As on the page: apart for the colour-blind, and of different shapes."""
_SYMBOLS: Mapping[str, str] = {"invented": "disc", "missing": "square"}
_UNKNOWN = ("#e8ecf1", "diamond")
_SIZE_PX = 18
"""Of a mark in its plane, voxels."""
_BESIDE = 3
"""Planes beside its own in which a mark is seen, smaller."""


class DoubtMarks:
    """One layer of marks for each image, above it; they are made when a volume has the first place to mark."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._of: dict[Any, Any] = {}
        """The marks of each image."""
        self.visible = True

    def show(self, doubts: Mapping[Any, Sequence[Doubt]], voxel_size_um: tuple[float, float, float]) -> None:
        """Mark places on images.

        Parameters
        ----------
        doubts : of each image, which is a layer of the viewer
        voxel_size_um : (z, y, x), in which places count
        """
        self._of = {image: marks for image, marks in self._of.items() if marks in self._viewer.layers}
        if not self._of and not any(doubts.values()):
            return
        for image, places in doubts.items():
            if image not in self._of:
                self._of[image] = self._add(image)
            _fill(self._of[image], places, voxel_size_um)
            self._of[image].visible = self.visible and image.visible

    def switch(self, visible: bool) -> None:
        """Show the marks, or hide them."""
        self.visible = visible
        for image, marks in self._of.items():
            marks.visible = visible and image.visible

    @property
    def n_layers_of_an_image(self) -> int:
        """Layers that lie on each other in one cell of napari's grid."""
        return 2 if self._of else 1

    def _add(self, image: Any) -> Any:
        """Make the layer of marks right above an image: the two share a cell of the grid."""
        marks = self._viewer.add_points(
            np.empty((0, 3)),
            ndim=3,
            name=f"marks · {image.name}",
            size=_SIZE_PX,
            face_color="transparent",
            border_width=0.07,
            units=("um", "um", "um"),
            axis_labels=("z", "y", "x"),
        )
        layers = self._viewer.layers
        layers.move(layers.index(marks), layers.index(image) + 1)
        return marks


def _fill(marks: Any, places: Sequence[Doubt], voxel_size_um: tuple[float, float, float]) -> None:
    seen = [(doubt, away) for doubt in places for away in range(-_BESIDE, _BESIDE + 1)]
    marks.data = np.array([np.add(doubt.place_px, (away, 0, 0)) for doubt, away in seen], float).reshape(-1, 3)
    marks.editable = False  # napari makes points editable with each new data
    marks.scale = voxel_size_um
    if not seen:
        return
    kinds = [doubt.kind for doubt, _ in seen]
    marks.size = [_SIZE_PX * (1 - abs(away) / (2 * _BESIDE)) for _, away in seen]
    colours = [COLOURS.get(kind, _UNKNOWN[0]) for kind in kinds]
    marks.symbol = [_SYMBOLS.get(kind, _UNKNOWN[1]) for kind in kinds]
    marks.border_color = colours
    marks.features = {"kind": [doubt.kind if away == 0 else "" for doubt, away in seen]}
    marks.text = {"string": "{kind}", "size": 11, "color": colours, "translation": (0, -0.6 * _SIZE_PX - 2, 0)}
    marks.selected_data = set()
