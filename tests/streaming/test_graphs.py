"""A step as an ONNX file: what is written in other operations gives the same numbers."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from care_live.restore.streaming import graphs
from care_live.restore.streaming.derive import StepGraph
from tests.streaming.networks import options


def softplus(x: NDArray[np.float32]) -> NDArray[np.float32]:
    graph = StepGraph((("Softplus", ("x",), "y", ()),), (("x", x.shape),), (("y", x.shape),))
    content = graphs.write(graph, {}, opset=18, raw={})
    session = ort.InferenceSession(content, options(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return y


def test_softplus_is_right_everywhere() -> None:
    x = np.concatenate([np.linspace(-100, 100, 4001), [-1e30, 79.99, 80.01, 1e4, 1e30]]).astype(np.float32)
    wanted = np.logaddexp(0, x.astype(np.float64))
    np.testing.assert_allclose(softplus(x), wanted, rtol=3e-7, atol=1.2e-7)


def test_softplus_of_no_number_is_no_number() -> None:
    y = softplus(np.array([np.nan, np.inf, -np.inf, 0.0], np.float32))
    assert np.isnan(y[0])
    assert y[1] == np.inf
    assert y[2] == 0
