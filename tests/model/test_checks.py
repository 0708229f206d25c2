"""Hostile and broken networks are refused before anything loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from care_live.errors import ModelError
from care_live.model import checks
from care_live.model.card import Calibration, ModelCard
from care_live.model.checks import check
from tests.make.networks import save_network

FLOATS = numpy_helper.from_array(np.zeros(4, np.float32), "w")
ADD = helper.make_node("Add", ["x", "w"], ["y"])


def model(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], domain: str = "") -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(domain, 1)][: 1 + bool(domain)]
    )


def in_another_file(location: str) -> onnx.ModelProto:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return model([ADD], [tensor])


def loop() -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["again"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [*ends, helper.make_tensor_value_info("v", TensorProto.FLOAT, [4])],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]),
        ],
    )
    counts = [numpy_helper.from_array(np.array(2**62), "n"), numpy_helper.from_array(np.array(True), "t")]
    return model([helper.make_node("Loop", ["n", "t", "x"], ["y"], body=body)], counts)


def constant_with_nan() -> onnx.ModelProto:
    bad = numpy_helper.from_array(np.full(4, np.nan, np.float32))
    return model([helper.make_node("Constant", [], ["w"], value=bad), ADD], [])


def attribute_with_nan() -> onnx.ModelProto:
    return model([helper.make_node("LeakyRelu", ["x"], ["y"], alpha=float("nan"))], [])


def numbers_with_nan() -> onnx.ModelProto:
    return model([helper.make_node("Constant", [], ["w"], value_floats=[np.nan] * 4), ADD], [])


def half_weights_with_nan(data_type: int) -> onnx.ModelProto:
    bad = helper.make_tensor("half", data_type, [4], [np.nan] * 4)
    return model([helper.make_node("Cast", ["half"], ["w"], to=TensorProto.FLOAT), ADD], [bad])


def sparse(values: onnx.TensorProto) -> onnx.ModelProto:
    places = numpy_helper.from_array(np.array([0, 1]), "places")
    constant = onnx.SparseTensorProto(values=values, indices=places, dims=[4])
    return model([helper.make_node("Constant", [], ["w"], sparse_value=constant), ADD], [])


def sparse_in_another_file() -> onnx.ModelProto:
    values = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    values.external_data.add(key="location", value="weights.bin")
    return sparse(values)


def forty_gigabytes_at_once() -> onnx.ModelProto:
    size = numpy_helper.from_array(np.array([10**10]), "s")
    return model([helper.make_node("ConstantOfShape", ["s"], ["y"])], [size])


def forty_gigabytes() -> onnx.ModelProto:
    size = numpy_helper.from_array(np.array([10**10]), "s")
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    return model(nodes, [size])


def wrong_size() -> onnx.ModelProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.dims[0] = 8
    return model([ADD], [tensor])


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "parent-folder": (lambda: in_another_file("../secret.bin"), "another file"),
    "absolute": (lambda: in_another_file("/dev/zero"), "another file"),
    "same-folder": (lambda: in_another_file("weights.bin"), "another file"),
    "custom-domain": (
        lambda: model([helper.make_node("Evil", ["x"], ["y"], domain="com.evil")], [], "com.evil"),
        "domain",
    ),
    "unknown-operator": (lambda: model([helper.make_node("Nope", ["x"], ["y"])], []), "Nope"),
    "operator-of-two-lines": (lambda: model([helper.make_node("Two\nlines", ["x"], ["y"])], []), r"'Two\\nlines'"),
    "endless-loop": (loop, "Loop"),
    "nan-weights": (lambda: model([ADD], [numpy_helper.from_array(np.full(4, np.nan, np.float32), "w")]), "not finite"),
    "nan-constant": (constant_with_nan, "not finite"),
    "nan-attribute": (attribute_with_nan, "not finite"),
    "nan-numbers": (numbers_with_nan, "not finite"),
    "nan-bfloat16": (lambda: half_weights_with_nan(TensorProto.BFLOAT16), "not finite"),
    "nan-float8": (lambda: half_weights_with_nan(TensorProto.FLOAT8E4M3FN), "not finite"),
    "nan-sparse": (lambda: sparse(numpy_helper.from_array(np.full(2, np.nan, np.float32), "w")), "not finite"),
    "sparse-in-another-file": (sparse_in_another_file, "another file"),
    "forty-gigabytes-at-once": (forty_gigabytes_at_once, "too large"),
    "forty-gigabytes": (forty_gigabytes, "too large"),
    "wrong-size": (wrong_size, "unreadable"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_networks_are_refused(tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    path = tmp_path / "evil.onnx"
    path.write_bytes(make().SerializeToString())
    with pytest.raises(ModelError, match=reason) as refused:
        check(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"halo_px": (10**9, 8, 8)}, "halo_px .* from 0 to 1024"),
        ({"halo_px": (8, 8)}, "halo_px .* one for each of ZYX"),
        ({"divisor": (0, 2, 2)}, "divisor .* from 1 to 256"),
        ({"task": "isotropic"}, "isotropic on axes ZYX, wanted YX"),
        ({"task": "upsample", "factor": 1e9}, "factor"),
        ({"heads": ("laplace_scale",)}, "wanted mean"),
        ({"heads": ("mean", "mean")}, "each once"),
        ({"heads": ("mean", "laplace_scale"), "members": 5}, "members 5 with heads .* wanted disagreement"),
        ({"heads": ("mean", "laplace_scale", "disagreement")}, "members 1 with heads .* 2 or more"),
        ({"heads": ("mean", "disagreement"), "members": 5}, "2 or more with a Laplace scale"),
        ({"channels_in": ()}, "no channels"),
        ({"channels_out": ("x" * 129,)}, "1 to 128 characters"),
        ({"channels_in": ("",)}, "1 to 128 characters"),
        ({"channels_in": ("x",) * 65}, "at most 64"),
        ({"voxel_size_um": (1.0, 0.0, 1.0)}, "voxel_size_um .* above 0"),
        ({"voxel_size_um": (1.0, float("nan"), 1.0)}, "voxel_size_um .* above 0"),
        ({"calibration": Calibration(levels=(0.5, 0.9), factors=(1.0,))}, "calibration"),
        ({"calibration": Calibration(levels=(0.9, 0.5), factors=(1.0, 1.0))}, "calibration"),
        ({"calibration": Calibration(levels=(0.5,), factors=(float("nan"),))}, "calibration"),
        ({"low_percentile": 99.9}, "low_percentile 99.9 above high_percentile 99.8"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change: dict[str, object], reason: str) -> None:
    sound = ModelCard(name="net", divisor=(2, 2, 2), halo_px=(8, 8, 8))
    checks.check_card(sound)
    with pytest.raises(ModelError, match=reason):
        checks.check_card(sound.model_copy(update=change))


@pytest.mark.parametrize(
    "card",
    [
        {"heads": ("mean",), "members": 3},
        {"heads": ("mean", "laplace_scale", "disagreement"), "members": 2},
        {"heads": ("mean", "laplace_scale", "disagreement"), "normalisation": "percentile"},
        {"calibration": Calibration(levels=(0.5, 0.9, 0.95), factors=(1.1, 1.2, 0.9))},
    ],
    ids=["without a scale", "ensemble", "foreign", "calibrated"],
)
def test_the_card_of_an_honest_ensemble_passes(card: dict[str, object]) -> None:
    checks.check_card(ModelCard(name="net", divisor=(2, 2, 2), halo_px=(8, 8, 8), **card))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_network_is_refused(tmp_path: Path, keep: float) -> None:
    path = save_network(tmp_path / "net.onnx")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ModelError):
        check(path)


def test_a_file_beyond_the_cap_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_network(tmp_path / "net.onnx")
    monkeypatch.setattr(checks, "LARGEST_MIB", 0.001)
    with pytest.raises(ModelError, match="at most"):
        check(path)


@pytest.mark.parametrize("shape", [{}, {"ndim": 2}, {"members": 2}, {"c_in": 2, "c_out": 1}], ids=str)
def test_honest_networks_pass(tmp_path: Path, shape: dict[str, int]) -> None:
    check(save_network(tmp_path / "net.onnx", **shape))
