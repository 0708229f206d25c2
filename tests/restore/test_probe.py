"""What is measured of a network when it is opened: its reach, and whether the device computes it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from care_live.backends.session import OnnxSession, Options
from care_live.errors import RestoreError
from care_live.model.card import METADATA_KEY, ModelCard
from care_live.model.file import read_card
from care_live.model.unet_graph import ConvolutionWeights, UNetShape, build, seeded_weights
from care_live.restore.probe import compare, deviation, reach
from care_live.restore.tiled import Network
from tests.make.networks import HALO, save_network


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_reach_is_measured_and_not_guessed(tmp_path: Path, ndim: int, depth: int) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=ndim, depth=depth)
    card = read_card(path)
    measured = reach(Network(path, card, Options(threads=1), open_session=OnnxSession), card)
    assert all(HALO[depth] - 2**depth < px <= HALO[depth] for px in measured)


def test_a_device_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    right, wrong = save_network(tmp_path / "right.onnx", seed=1), save_network(tmp_path / "wrong.onnx", seed=2)
    card = read_card(right)
    networks = [Network(path, card, Options(threads=1), open_session=OnnxSession) for path in (right, wrong)]
    assert compare(networks[0], networks[0], card, tolerance=0.0) == 0.0
    with pytest.raises(RestoreError, match="of the range"):
        compare(networks[0], networks[1], card, tolerance=1e-3)


def test_a_laplace_scale_that_hardly_varies_is_compared_in_the_unit_of_the_mean(tmp_path: Path) -> None:
    """Its own range may be nothing but rounding."""
    networks = []
    for floor in (1e-3, 1.001e-3):
        unet = UNetShape(filters=2, depth=1, scale_floor=floor)
        *body, (weight, bias) = seeded_weights(unet)
        card = ModelCard(name="flat", divisor=(2, 2, 2), halo_px=(8, 8, 8), heads=("mean", "laplace_scale"))
        metadata = {METADATA_KEY: card.model_dump_json()}
        path = tmp_path / f"{floor}.onnx"
        onnx.save(build(unet, [*body, ConvolutionWeights(0 * weight, bias)], metadata=metadata), path)
        networks.append(Network(path, card, Options(threads=1), open_session=OnnxSession))
    assert 0 < compare(*networks, card, tolerance=1e-5) < 1e-5


def test_a_deviation_is_that_of_the_mean_in_units_of_the_scale(tmp_path: Path) -> None:
    right, wrong = save_network(tmp_path / "right.onnx", seed=1), save_network(tmp_path / "wrong.onnx", seed=2)
    card = read_card(right)
    networks = [Network(path, card, Options(threads=1), open_session=OnnxSession) for path in (right, wrong)]
    assert deviation(networks[0], networks[0], card) == 0.0
    apart = deviation(*networks, card)
    assert apart is not None
    assert apart > 0.01
    assert deviation(*networks, card.model_copy(update={"heads": ("mean",)})) is None
