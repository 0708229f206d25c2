"""Fields of any size: padded, tiled, planes in any order, and still the whole volume."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from care_live.errors import RestoreError
from care_live.model.card import ModelCard
from care_live.planewise import tiles
from care_live.planewise.plan import NotPlanewise
from care_live.tiling import margins, pad
from tests.make.seeded_unets import counts, run, seeded
from tests.planewise.test_stream import SMALL, SPAN, card, worst


def whole(model: onnx.ModelProto, raw: np.ndarray, about: ModelCard) -> dict[str, np.ndarray]:
    """Restore (c, z, y, x) in one run, padded as the card says."""
    around = margins(raw.shape[1:], about.divisor, about.boundary)
    padded = pad(raw[None], around, about.boundary, [SPAN.low] * len(raw))
    ends = {name: np.full(len(raw), end, np.float32) for name, end in (("low", SPAN.low), ("high", SPAN.high))}
    place = tuple(slice(before, before + n) for (before, _), n in zip(around, raw.shape[1:], strict=True))
    return {head: array[0][:, *place] for head, array in run(model, {"raw": padded, **ends}).items()}


def begun(model: onnx.ModelProto, about: ModelCard, shape: tuple[int, ...], **options: object) -> tiles.FieldStream:
    plan = tiles.plan(model, about, shape[1:], **options)
    assert isinstance(plan, tiles.FieldPlan), plan
    into = {head: np.full((1, *shape[1:]), np.nan, np.float32) for head in about.heads}
    return tiles.TileSessions(plan, about, SMALL).begin([SPAN] * shape[0], into)


@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_a_field_that_is_no_multiple_is_padded(boundary: str) -> None:
    model, about, raw = seeded(filters=4), card(boundary=boundary), counts((1, 6, 13, 18))
    stream = begun(model, about, raw.shape)
    for z in range(6):
        stream.place(0, z, raw[0, z])
    assert worst(dict(stream.finish()), whole(model, raw, about)) < 2e-6


def test_tiles_equal_the_whole_field() -> None:
    model, raw = seeded(filters=4, depth=1), counts((1, 7, 45, 50))
    about = card(divisor=(2, 2, 2), halo_px=(8, 8, 8))
    stream = begun(model, about, raw.shape, tile_px=(28, 32))
    assert stream.n_tiles > 3
    for z in range(7):
        stream.place(0, z, raw[0, z])
    assert stream.n_restored == 7
    assert worst(dict(stream.finish()), whole(model, raw, about)) < 2e-6


def test_planes_and_channels_may_come_in_any_order() -> None:
    model = seeded(filters=4, channels_in=2, residual=False, output="normalised")
    about, raw = card(channels_in=("a", "b")), counts((2, 9, 8, 8))
    stream = begun(model, about, raw.shape)
    places = [(c, z) for z in range(9) for c in range(2)]
    for c, z in np.random.default_rng(0).permutation(places):
        stream.place(int(c), int(z), raw[c, z])
    assert worst(dict(stream.finish()), whole(model, raw, about)) < 2e-6


def test_a_plane_that_does_not_fit_ends_the_stream() -> None:
    raw = counts((1, 8, 8, 8))
    stream = begun(seeded(filters=4), card(), raw.shape)
    stream.place(0, 0, raw[0, 0])
    for wrong in (raw[0, 0], raw[0, 1, :4]):
        with pytest.raises(RestoreError, match="restore the whole volume"):
            stream.place(0, 0, wrong)
    stream.place(0, 2, raw[0, 2])
    with pytest.raises(RestoreError, match="ended after 1"):
        stream.finish()
    stream.abandon()


def test_a_flat_network_is_refused_with_its_reason() -> None:
    flat = seeded(axes="YX", kernel=(3, 3), pool=(2, 2), filters=4)
    verdict = tiles.plan(flat, card(axes="YX", divisor=(4, 4), halo_px=(24, 24)), (8, 16, 16))
    assert isinstance(verdict, NotPlanewise)
