"""Layers of napari's viewer, without a window: made once, given new pixels, named and coloured by what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from care_live.images import LIMITS
from care_live.maps import MAPS
from care_live.reasons import whole
from care_live.verdict import Doubt, Trust
from care_live.viewer.napari.layers import Drawing, Layers, Prepared, caption
from care_live.viewer.view_records import RunInfo, ViewedVolume
from care_live.wire.arrays import Product
from tests.make.scenes import INFO, SMALL, but, raw_only, scene

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own

UM = (2.0, 0.5, 0.5)


def prepared(*volumes: ViewedVolume, only: tuple[Product, ...] = ("raw", "mean", "laplace_scale")) -> Prepared:
    """Draw these products as the preparer does, from 0 to their maximum."""
    drawings = [
        Drawing(shown.key.c, product, image, (0.0, float(image.max())), UM)
        for shown in volumes
        for product in only
        if (image := shown.product(product)) is not None
    ]
    return Prepared(volumes, tuple(drawings))


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def small(t: int = 0, c: int = 0) -> ViewedVolume:
    return scene(t, c=c, shape=SMALL)


def test_layers_are_made_once_and_given_new_pixels(viewer: Any) -> None:
    layers = Layers(viewer)
    assert layers.show(prepared(small(0)), INFO)
    first = list(viewer.layers)
    assert names(viewer) == ["raw", "restored", "relative uncertainty"]
    assert [layer.colormap.name for layer in first] == ["gray", "gray", "inferno"]
    assert [tuple(layer.scale) for layer in first] == [UM] * 3
    assert viewer.grid.shape == (1, 3)
    assert first[0].metadata["model"] == "worm3d" and first[0].metadata["limits"] == LIMITS
    assert not layers.show(prepared(small(1)), INFO), "no layer more"
    assert list(viewer.layers) == first
    assert np.array_equal(first[1].data, small(1).maps["mean"])


def test_a_persons_contrast_stays_and_an_automatic_one_follows(viewer: Any) -> None:
    layers = Layers(viewer)
    layers.show(prepared(small(0)), INFO)
    raw, mean = viewer.layers["raw"], viewer.layers["restored"]
    raw.contrast_limits = (50, 500)
    later = small(3)
    layers.show(prepared(later), INFO)
    assert tuple(raw.contrast_limits) == (50, 500)
    assert mean.contrast_limits[1] == pytest.approx(later.maps["mean"].max())


def test_a_layer_that_a_person_removed_comes_again_and_what_is_missing_is_hidden(viewer: Any) -> None:
    layers = Layers(viewer)
    layers.show(prepared(small(0)), INFO)
    viewer.layers.remove("raw")
    layers.show(prepared(small(1)), INFO)
    assert sorted(names(viewer)) == ["raw", "relative uncertainty", "restored"]
    pixels = small(2).raw
    assert pixels is not None
    layers.show(prepared(raw_only(pixels)), INFO)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["raw"], "no other volume's restored pixels"
    layers.show(prepared(small(3)), INFO)
    assert all(layer.visible for layer in viewer.layers)


def test_channels_are_named_and_add_up_in_colours_of_their_own(viewer: Any) -> None:
    Layers(viewer).show(prepared(small(c=0), small(c=1), only=("raw", "laplace_scale")), INFO)
    scale = MAPS["laplace_scale"].label
    assert names(viewer) == ["raw · DAPI", f"{scale} · DAPI", "raw · GFP", f"{scale} · GFP"]
    assert [layer.colormap.name for layer in viewer.layers] == ["green", "inferno", "magenta", "inferno"]
    assert {layer.blending for layer in viewer.layers} == {"additive"}


def test_a_map_that_may_be_negative_is_black_in_the_middle(viewer: Any) -> None:
    signed = next(head for head, kind in MAPS.items() if kind.may_be_negative and kind.coding != "affine")
    pixels = np.linspace(-3, 3, np.prod(SMALL), dtype=np.float32).reshape(SMALL)
    shown = small()
    Layers(viewer).show(Prepared((shown,), (Drawing(0, signed, pixels, (-3.0, 3.0), UM),)), INFO)
    colours = viewer.layers[MAPS[signed].label].colormap.map(np.array([0.0, 0.5, 1.0]))
    assert colours[1][:3] == pytest.approx([0, 0, 0], abs=0.01)
    assert colours[0][:3] == pytest.approx([1.0, 0x7A / 255, 0x1A / 255], abs=0.01), "as the mark of an invented place"


def test_a_place_that_contradicts_the_photons_is_marked_and_gone_to(viewer: Any) -> None:
    layers, place = Layers(viewer), Doubt("invented", (1, 6, 9), 12.0)
    layers.show(prepared(but(small(), trust=Trust("red", ("invented",), (place,))), only=("raw", "mean")), INFO)
    assert names(viewer) == ["raw", "marks · raw", "restored", "marks · restored"]
    assert (viewer.grid.stride, viewer.grid.shape) == (2, (1, 2)), "marks lie on their images"
    viewer.camera.zoom = 1.0
    layers.go_to(place)
    assert viewer.dims.point[0] == 2.0 * 1
    assert tuple(viewer.camera.center) == (2.0, 3.0, 4.5) and viewer.camera.zoom == 4.0 / 0.5
    viewer.camera.zoom = 20.0
    layers.go_to(place)
    assert viewer.camera.zoom == 20.0, "who is closer stays so"
    layers.switch_marks(False)
    assert [layer.visible for layer in viewer.layers] == [True, False, True, False]


def test_the_words_over_the_picture_say_state_trust_network_and_limits() -> None:
    shown = but(
        small(4), trust=Trust("amber", ("dark",)), flags=frozenset({"late", "saturated"}), choice=whole("restarted")
    )
    lines = caption(prepared(shown), INFO).splitlines()
    assert lines[0] == "scene · t 4 · provisional · trust amber · late · saturated"
    assert lines[-2:] == ["worm3d", LIMITS]
    assert lines[1].startswith("restored whole: the inference process was replaced")
    pixels = small().raw
    assert pixels is not None
    of_no_network = caption(prepared(raw_only(pixels)), RunInfo()).splitlines()
    assert of_no_network[-2:] == ["not restored", LIMITS]
    long = but(small(), flags=frozenset({f"flag {n} that is long" for n in range(9)}))
    assert max(map(len, caption(prepared(long), INFO).splitlines())) <= 64, "a small canvas shows all of them"
