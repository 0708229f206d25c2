"""Orders that cannot be obeyed are answered with what is wrong."""

from __future__ import annotations

import pytest

from care_live.config import RestoreConfig
from care_live.daemon import orders
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import ConfigError


@pytest.mark.parametrize(
    "model",
    ["there/is/none.onnx", "x" * 5000, "a\0b", "", None],
    ids=["missing", "too long", "zero byte", "empty", "none"],
)
def test_a_network_that_is_no_file_is_refused_by_name(model: object) -> None:
    with pytest.raises(ConfigError, match=r"there is no model file .* on the daemon's machine"):
        orders.swap(WorkerGroup(RestoreConfig()), {"model": model}, lambda: None)
