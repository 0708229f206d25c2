"""Volumes of few pixels: a worm that fills the field, a stack of few planes, restored by the shipped network."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from care_live.config import AcquisitionConfig, VirtualConfig
from care_live.images import read_only
from care_live.model import file
from care_live.simulate.scene import Exposure, Scene
from care_live.training.evaluation.inference import as_volume, open_engine
from care_live.trust.examiner import Examiner
from tests.trust.photons import nucleus

WORMS = [((8, 96, 96), 0), ((8, 96, 96), 3), ((16, 96, 96), 0), ((16, 64, 64), 0)]


def exposed(shape_px: tuple[int, int, int], seed: int) -> np.ndarray:
    """Return the first volume of the virtual microscope, counts."""
    n_planes, *field_px = shape_px
    plan = AcquisitionConfig(z_planes=n_planes)
    scene = Scene(VirtualConfig(shape_px=tuple(field_px), seed=seed, acquisition=plan))
    heights = plan.z_start_um + plan.z_step_um * np.arange(n_planes)
    return np.stack([scene.expose(Exposure(n, 0.0, 0.0, z_um, 10.0, 1.0)) for n, z_um in enumerate(heights)])


@pytest.mark.parametrize(("shape_px", "seed"), WORMS)
def test_a_worm_that_fills_the_field_is_not_red_and_what_was_erased_is(
    shape_px: tuple[int, int, int], seed: int
) -> None:
    engine = open_engine(file.shipped(), threads=1)
    volume = replace(as_volume(exposed(shape_px, seed)), voxel_size_um=(1.0, 0.5, 0.5))
    (restored,) = engine.restore([volume])
    trust = Examiner(engine.card).examine(restored)
    assert trust.colour != "red", trust

    place = (shape_px[0] / 2, shape_px[1] - 18.0, 18.0)
    counted = np.random.default_rng(0).poisson(nucleus(place, 8, shape_px) / 2.17) * 2.17
    more = read_only((volume.pixels + np.rint(counted)).astype(np.uint16))
    lacking = replace(restored, raw=replace(volume, pixels=more))
    doubts = Examiner(engine.card).examine(lacking).doubts
    assert any(np.abs(np.subtract(doubt.place_px, place)).max() <= 6 for doubt in doubts)
