"""What is alive at once, in the order in which onnxruntime runs a graph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from care_live.planewise.peak import ReadsAndMakes, most_alive, order

CHAINS: list[ReadsAndMakes[str]] = [
    (("a",), ("b",)),
    (("b",), ("c",)),
    (("a",), ("d",)),
    (("d",), ("e",)),
    (("c", "e"), ("f",)),
    (("e", "c"), ("g",)),
]


def test_values_die_after_their_last_use() -> None:
    sizes = dict.fromkeys("abcdefg", 1) | {"b": 10, "d": 10}
    assert most_alive(CHAINS[:2], sizes, {"a", "c"}) == 1 + 10 + 1
    assert most_alive(CHAINS, sizes, {"a", "f", "g"}) == 1 + 10 + 1 + 1  # the second chain beside the end of the first
    assert most_alive(CHAINS[:2], sizes, {"a", "b", "c"}) == 12


@pytest.mark.parametrize("listed", [(0, 1, 2, 3, 4, 5), (2, 0, 3, 1, 5, 4)], ids=["by-chains", "by-turns"])
def test_the_order_is_that_of_onnxruntime(listed: Sequence[int], tmp_path: Path) -> None:
    nodes = [CHAINS[i] for i in listed]
    made = [helper.make_node("Sum", inputs, outputs, name=outputs[0]) for inputs, outputs in nodes]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "afg"]
    graph = helper.make_graph(made, "chains", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.profile_file_prefix = str(tmp_path / "run")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"a": np.ones(2, np.float32)})
    assert _ran(session.end_profiling()) == [nodes[i][1][0] for i in order(nodes)]


def _ran(profile: str) -> list[str]:
    """Return the names of the nodes as they were run."""
    events = json.loads(Path(profile).read_text())
    timed = [event for event in events if event["name"].endswith("_kernel_time")]
    return [event["name"].removesuffix("_kernel_time") for event in sorted(timed, key=lambda event: event["ts"])]
