"""Fast mode in 8 bits: ranges are learnt from what comes, nothing is cut off, and no numbers teach nothing."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from care_live.backends.session import Options
from tests.make.seeded_unets import RANGE, counts, seeded

if find_spec("openvino") is None:
    pytest.skip("needs the [openvino] extra", allow_module_level=True)

from care_live.backends.int8 import EightBitSession
from care_live.backends.openvino import OpenVinoSession

SHAPE = (1, 1, 8, 32, 32)
SHAPES = {"raw": SHAPE, "low": (1,), "high": (1,)}


def opened(model: onnx.ModelProto) -> tuple[EightBitSession, OpenVinoSession]:
    content, options = model.SerializeToString(), Options("openvino", threads=1)
    return EightBitSession(content, SHAPES, options), OpenVinoSession(content, SHAPES, options)


def worst(fast: EightBitSession, exact: OpenVinoSession, raw: np.ndarray) -> float:
    inputs = {"raw": raw, **RANGE}
    wanted, got = (session.run(inputs)[session.outputs.index("mean")] for session in (exact, fast))
    return float(np.abs(got - wanted).max() / np.ptp(wanted))


def test_nothing_is_cut_off_when_brighter_volumes_come() -> None:
    fast, exact = opened(seeded(filters=16))
    dim = counts(SHAPE) // 8
    fast.run({"raw": np.full(SHAPE, 100, np.uint16), **RANGE})  # as a warm-up does: all ranges are tiny now
    for brighter in (1, 4, 16):
        assert worst(fast, exact, brighter * dim) < 0.03
    assert worst(fast, exact, dim) < 0.2  # the ranges stay wide


def test_a_network_with_a_single_wide_layer_runs() -> None:
    """What says how full its ranges are then has two names in OpenVINO."""
    fast, exact = opened(seeded(filters=4))
    for _ in range(2):
        assert worst(fast, exact, counts(SHAPE)) < 0.1


def test_results_go_where_the_caller_wants_them() -> None:
    fast, _ = opened(seeded(filters=16))
    inputs = {"raw": counts(SHAPE), **RANGE}
    wanted = [result.copy() for result in fast.run(inputs)]
    into = [np.empty_like(result) for result in wanted]
    assert all(given is out for given, out in zip(fast.run(inputs, into), into, strict=True))
    for result, out in zip(wanted, into, strict=True):
        np.testing.assert_array_equal(out, result)


def test_an_input_without_numbers_is_reported_and_teaches_nothing() -> None:
    model = seeded(filters=16)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    fast, exact = opened(model)
    good = counts(SHAPE).astype(np.float32)
    broken = good.copy()
    broken[..., 16, 16] = np.inf
    assert worst(fast, exact, good) < 0.03
    mean = fast.run({"raw": broken, **RANGE})[fast.outputs.index("mean")]
    assert not np.isfinite(mean).all()
    assert worst(fast, exact, good) < 0.03
