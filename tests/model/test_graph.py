"""Other nodes and other weights go into a copy; the given model stays as it is."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from care_live.model.graph import copied, set_nodes, set_weights
from tests.make.seeded_unets import seeded


def test_a_copy_changes_alone() -> None:
    given = seeded(depth=1, filters=2)
    before = given.SerializeToString()
    changed = copied(given)
    set_nodes(changed.graph, (node for node in changed.graph.node if node.op_type != "Relu"))
    set_weights(changed.graph, [])
    assert given.SerializeToString() == before
    assert not changed.graph.initializer
    assert {node.op_type for node in given.graph.node} - {node.op_type for node in changed.graph.node} == {"Relu"}


def test_what_is_set_may_be_read_from_the_graph_itself() -> None:
    """Both are emptied before they are filled: what is read meanwhile must not be lost."""
    model = seeded(depth=1, filters=2)
    names, n_weights = [node.name for node in model.graph.node], len(model.graph.initializer)
    set_nodes(model.graph, iter(model.graph.node))
    set_weights(model.graph, iter(model.graph.initializer))
    assert [node.name for node in model.graph.node] == names
    assert len(model.graph.initializer) == n_weights
    set_weights(model.graph, [numpy_helper.from_array(np.zeros(1, np.float32), "one")])
    set_nodes(model.graph, [helper.make_node("Identity", ["raw"], ["mean"])])
    assert [weight.name for weight in model.graph.initializer] == ["one"]
