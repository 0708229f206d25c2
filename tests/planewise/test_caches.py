"""Sessions in a chain: values go from one to the next and keep nothing but themselves."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from care_live.backends.session import Options
from care_live.planewise.caches import ChainedSession, keep

ONE = Options(threads=1)
N = 4096


def test_a_value_keeps_nothing_of_the_run_that_left_it() -> None:
    """Or the caches of a stream would hold every cache before them until the volume is complete."""
    a, sums, least = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [n]) for name, n in (("a", N), ("sums", N), ("least", 1))
    )
    nodes = [helper.make_node("Add", ["a", "a"], ["sums"]), helper.make_node("ReduceMin", ["a"], ["least"])]
    graph = helper.make_graph(nodes, "step", [a], [sums, least])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ChainedSession(model.SerializeToString(), ONE)
    kept, places = [], set()
    for i in range(6):
        left = session.run({"a": keep(np.full(N, i, np.float32), ONE)})
        places.add(left["sums"].data_ptr())
        kept.append(left["least"])
        assert (left["sums"].numpy() == 2 * i).all()
        del left
    assert max(places) - min(places) < 4 * N  # bytes: the room of one run's sums is free for the next one's
    assert [value.numpy().item() for value in kept] == list(range(6))
