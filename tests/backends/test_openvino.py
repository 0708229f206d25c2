"""OpenVINO computes what ONNX Runtime does: the same outputs in the same order, into arrays of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from care_live.backends.session import OnnxSession, Options
from care_live.errors import CareLiveError
from tests.make.seeded_unets import RANGE, counts, seeded

if find_spec("openvino") is None:
    pytest.skip("needs the [openvino] extra", allow_module_level=True)

from care_live.backends.openvino import Compiled, OpenVinoSession, fast_precision, handed_over, lighter

SHAPE = (1, 1, 8, 32, 32)
SHAPES = {"raw": SHAPE, "low": (1,), "high": (1,)}
INPUTS = {"raw": counts(SHAPE), **RANGE}


def options(**more: object) -> Options:
    return Options("openvino", threads=1, **more)  # type: ignore[arg-type]


def test_exact_mode_gives_what_onnx_runtime_gives() -> None:
    content = seeded(filters=4).SerializeToString()
    ours, theirs = OpenVinoSession(content, SHAPES, options()), OnnxSession(content, SHAPES, Options("cpu", threads=1))
    assert set(ours.outputs) == set(theirs.outputs)
    wanted = dict(zip(theirs.outputs, theirs.run(INPUTS), strict=True))
    for name, result in zip(ours.outputs, ours.run(INPUTS), strict=True):
        assert np.abs(result - wanted[name]).max() < 1e-4 * np.ptp(wanted[name]), name


def test_the_lighter_network_has_the_same_outputs_and_other_files_stay_as_they_are() -> None:
    model = seeded(filters=4)
    assert [one.name for one in lighter(model.SerializeToString()).graph.output] == [
        one.name for one in model.graph.output
    ]
    plain = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) {y = Neg(x)}'
    )
    assert lighter(plain.SerializeToString()) == plain


def test_results_are_handed_over_in_the_arrays_of_the_caller() -> None:
    results = (np.arange(4.0), np.ones((2, 2)))
    assert handed_over(results, None) == results
    into = [np.zeros_like(result) for result in results]
    given = handed_over(results, into)
    assert all(one is out and (out == result).all() for one, out, result in zip(given, into, results, strict=True))
    with pytest.raises(ValueError, match="argument 2"):
        handed_over(results[:1], into)


def test_other_types_and_layouts_are_made_fit() -> None:
    compiled = Compiled(seeded(filters=4), SHAPES, options())
    turned = {**INPUTS, "raw": np.asfortranarray(INPUTS["raw"].astype(np.int64))}
    wanted = [result.copy() for result in compiled.run(INPUTS)]
    for result, same in zip(compiled.run(turned), wanted, strict=True):
        np.testing.assert_array_equal(result, same)


def test_each_run_is_surrounded_by_what_the_options_say() -> None:
    seen: list[str] = []

    @contextmanager
    def running() -> Iterator[None]:
        seen.append("begun")
        yield
        seen.append("ended")

    session = OpenVinoSession(seeded(filters=4).SerializeToString(), SHAPES, options(running=running))
    session.run(INPUTS)
    assert seen == ["begun", "ended"]


def test_what_openvino_refuses_is_an_error_of_ours() -> None:
    with pytest.raises(CareLiveError):
        Compiled(seeded(filters=4), {"no such input": (1,)}, options())


def test_fast_mode_is_a_precision_that_this_processor_has() -> None:
    assert fast_precision() in {"bf16", "int8", "f32"}
