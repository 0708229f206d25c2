"""The tasks around a network: isotropic, upsampled, projected, foreign; and what happens when memory runs out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import scipy.ndimage
import scipy.stats
from onnx import TensorProto

from care_live.config import RestoreConfig
from care_live.errors import ModelError
from care_live.model.card import ModelCard
from care_live.model.file import read_card, write_card
from care_live.percentiles import Span, measure
from care_live.restore.engine import Engine
from care_live.restore.geometry import upsample_z
from care_live.restore.repair import geometric_mean, mixture
from tests.make.networks import Graph, noisy, save_graph, save_network, volume

CPU = RestoreConfig(provider="cpu", threads=1)


def isotropic_reference(path: Path, pixels: np.ndarray, span: Span, factor: float) -> tuple[dict[str, np.ndarray], ...]:
    """Both views, slice by slice, padded to the divisor by hand, with a bare session."""
    proto = onnx.load(path)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    up = upsample_z(pixels[None], factor)[0]
    ends = {"low": np.float32([span.low]), "high": np.float32([span.high])}
    views = []
    for axis in (1, 2):
        maps: dict[str, np.ndarray] = {head: np.empty(up.shape, np.float32) for head in ("mean", "laplace_scale")}
        for i in range(up.shape[axis]):
            image = up.take(i, axis)
            after = [(0, -n % 2) for n in image.shape]
            fed = np.pad(image, after, constant_values=span.low)[None, None]
            results = session.run(["mean", "laplace_scale"], {"raw": fed, **ends})
            for head, result in zip(maps, results, strict=True):
                index: list[slice | int] = [slice(None)] * 3
                index[axis] = i
                maps[head][tuple(index)] = result[0, 0, : image.shape[0], : image.shape[1]]
        views.append(maps)
    return tuple(views)


def test_isotropic_restores_both_views_and_combines_them(tmp_path: Path) -> None:
    path = save_network(tmp_path / "iso.onnx", ndim=2, task="isotropic", factor=2.5)
    pixels = noisy((9, 22, 31))
    (restored,) = Engine(path, CPU).restore([volume(pixels)])
    span = measure(pixels, 2, 99.8)
    first, second = isotropic_reference(path, pixels, span, 2.5)
    wanted = mixture(first, second)  # type: ignore[arg-type]
    assert restored.mean.shape == (22, 22, 31)
    assert np.allclose(restored.mean, wanted["mean"], rtol=0, atol=1e-5 * span.width)
    assert "laplace_scale" in restored.maps
    assert np.allclose(restored.maps["laplace_scale"], wanted["laplace_scale"], rtol=1e-5)
    assert restored.voxel_size_um[0] == pytest.approx(8 / 21)


def test_isotropic_tiles_equal_the_whole(tmp_path: Path) -> None:
    path = save_network(tmp_path / "iso.onnx", ndim=2, task="isotropic", factor=4.0)
    stack = volume(noisy((13, 44, 50)))
    (whole,) = Engine(path, CPU).restore([stack])
    (tiled,) = Engine(path, CPU.model_copy(update={"tile_px": (32, 32, 32)})).restore([stack])
    assert (whole.mean == tiled.mean).all()


def test_the_mixture_has_the_mean_and_variance_of_what_is_mixed() -> None:
    random = np.random.default_rng(1)
    mu, b = random.normal(0, 3, (2, 40)).astype(np.float32), random.uniform(0.1, 2, (2, 40)).astype(np.float32)
    views = [{"mean": mu[i], "laplace_scale": b[i]} for i in (0, 1)]
    combined = mixture(views[0], views[1])  # type: ignore[arg-type]
    moment = sum(scipy.stats.laplace(mu[i], b[i]).moment(2) for i in (0, 1)) / 2
    assert np.allclose(combined["mean"], mu.mean(axis=0), atol=1e-6)
    assert np.allclose(2 * combined["laplace_scale"] ** 2, moment - mu.mean(axis=0) ** 2, rtol=1e-4)


def test_the_geometric_mean_is_taken_above_the_low_percentile() -> None:
    span = Span(100.0, 200.0)
    views = [
        {"mean": np.float32([[[[value]]]]), "laplace_scale": np.float32([[[[b]]]])} for value, b in ((104, 3), (125, 7))
    ]
    combined = geometric_mean(views[0], views[1], [span])  # type: ignore[arg-type]
    assert combined["mean"].item() == pytest.approx(110.0)
    assert combined["laplace_scale"].item() == 7.0
    below = geometric_mean({"mean": np.float32([[[[90]]]])}, {"mean": np.float32([[[[150]]]])}, [span])
    assert below["mean"].item() == 100.0


def test_upsample_runs_the_network_on_interpolated_planes(tmp_path: Path) -> None:
    path = save_network(tmp_path / "up.onnx", task="upsample", factor=2.0)
    pixels = noisy((8, 20, 20))
    (restored,) = Engine(path, CPU).restore([volume(pixels)])
    assert restored.mean.shape == (16, 20, 20)
    assert restored.voxel_size_um == pytest.approx((7 / 15, 0.5, 0.5))


@pytest.mark.parametrize("keepdims", [1, 0], ids=["z=1", "no-z"])
def test_projection_gives_one_plane_and_tiles_only_laterally(tmp_path: Path, keepdims: int) -> None:
    graph = Graph(3, seed=1)
    field = graph.add("Relu", graph.conv(graph.add("Cast", "raw", to=TensorProto.FLOAT), 1, 1))
    graph.add("ReduceMean", field, graph.constant(np.array([2])), keepdims=keepdims, output="mean")
    card = ModelCard(name="project", task="project", divisor=(1, 2, 2), halo_px=(0, 2, 2))
    path = save_graph(tmp_path / "project.onnx", graph, card, flat=not keepdims)
    stack = volume(noisy((6, 60, 50)))
    (whole,) = Engine(path, CPU).restore([stack])
    (tiled,) = Engine(path, CPU.model_copy(update={"tile_px": (6, 24, 24)})).restore([stack])
    assert whole.mean.shape == (1, 60, 50)
    assert (whole.mean == tiled.mean).all()
    assert whole.voxel_size_um == (6.0, 0.5, 0.5)


@pytest.mark.parametrize("kind", ["percentile", "zero-mean-unit-variance", "none"])
def test_foreign_networks_are_normalised_around_their_graph(tmp_path: Path, kind: str) -> None:
    graph = Graph(2, seed=1)
    graph.add("Identity", graph.conv("raw", 1, 1), output="mean")
    card = ModelCard(name="foreign", axes="YX", divisor=(1, 1), halo_px=(1, 1), normalisation=kind)
    path = save_graph(tmp_path / "foreign.onnx", graph, card, dtype=TensorProto.FLOAT)
    proto = onnx.load(path)
    del proto.graph.input[1:]
    onnx.save(proto, path)
    pixels = noisy((2, 20, 24))
    (restored,) = Engine(path, CPU).restore([volume(pixels)])
    span = {
        "percentile": measure(pixels, 2, 99.8),
        "zero-mean-unit-variance": Span(float(pixels.mean()), float(pixels.mean() + pixels.std())),
        "none": Span(0.0, 1.0),
    }[kind]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = span.undo(session.run(None, {"raw": span.apply(pixels[0])[None, None]})[0][0, 0])
    assert np.allclose(restored.mean[0], wanted, rtol=1e-4, atol=1e-3 * span.width)


def test_a_reflecting_card_pads_both_sides(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", ndim=2, boundary="reflect")
    pixels = noisy((1, 21, 23))
    (restored,) = Engine(path, CPU).restore([volume(pixels)])
    span = measure(pixels, 2, 99.8)
    fed = np.pad(pixels[0], [(0, 1), (0, 1)], mode="reflect")[None, None]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    mean = session.run(["mean"], {"raw": fed, "low": np.float32([span.low]), "high": np.float32([span.high])})[0]
    assert (restored.mean[0] == mean[0, 0, :21, :23]).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"heads": ("mean", "laplace_scale", "disagreement"), "members": 2}, "2 outputs"),
        ({"channels_out": ("a", "b")}, "its card says"),
        ({"halo_px": (4, 4, 4)}, "differ from the whole"),
        ({"divisor": (1, 2, 2)}, "small field"),
    ],
    ids=["heads", "channels", "halo", "divisor"],
)
def test_a_card_that_does_not_fit_its_network_is_refused(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    path = save_network(tmp_path / "net.onnx")
    write_card(path, read_card(path).model_copy(update=change))
    with pytest.raises(ModelError, match=reason):
        Engine(path, CPU)
