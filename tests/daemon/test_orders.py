"""Orders to a running daemon: what they need is checked before anything changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from care_live.daemon import orders
from care_live.daemon.live_show import LiveShow
from care_live.daemon.worker_group import WorkerGroup
from care_live.errors import ConfigError


class Restorer:
    """Takes orders to swap, and notes them."""

    def __init__(self, *, on_trial: bool = False) -> None:
        self.asked: list[tuple[Path, str, bool]] = []
        self.on_trial = on_trial

    def order_swap(self, model: Path, channel: str, *, interval_s: object, even_if_slow: bool) -> bool:
        self.asked.append((model, channel, even_if_slow))
        return self.on_trial


class Kept:
    """What Live has shown of late, where only the order matters."""

    def __init__(self) -> None:
        self.recent = self
        self.seconds: list[float] = []

    def keep(self, seconds: float) -> str:
        self.seconds.append(seconds)
        return "kept"


class Stage:
    def move(self, order: Mapping[str, Any]) -> str:
        return f"moved to {order['z_um']}"


def swap(restorer: Restorer, **order: object) -> str:
    return orders.swap(cast(WorkerGroup, restorer), order, lambda: None)


@pytest.mark.parametrize(
    "model",
    ["there/is/none.onnx", "x" * 5000, "a\0b", "", None],
    ids=["missing", "too long", "zero byte", "empty", "none"],
)
def test_a_network_that_is_no_file_is_refused_by_name(model: object) -> None:
    restorer = Restorer()
    with pytest.raises(ConfigError, match=r"there is no model file .* on the daemon's machine"):
        swap(restorer, model=model)
    assert not restorer.asked


def test_a_swap_says_what_happens_next(tmp_path: Path) -> None:
    model = tmp_path / "next.onnx"
    model.touch()
    restorer = Restorer()
    assert swap(restorer, model=str(model), channel="GFP", even_if_slow=True).startswith(
        f"loading {model}; it replaces the present one of GFP after both"
    )
    assert restorer.asked == [(model, "GFP", True)]
    assert swap(Restorer(on_trial=True), model=str(model)).startswith("the network on trial is given up; loading")


def test_only_live_can_be_kept_and_only_some_seconds_of_it() -> None:
    with pytest.raises(ConfigError, match="shows no Live"):
        orders.keep(None, {})
    show = Kept()
    for seconds in (0, -1.0, float("nan"), "ten"):
        with pytest.raises(ConfigError, match="wanted a positive number"):
            orders.keep(cast(LiveShow, show), {"seconds": seconds})
    assert orders.keep(cast(LiveShow, show), {"seconds": 3}) == "kept"
    assert orders.keep(cast(LiveShow, show), {}) == "kept"
    assert show.seconds == [3.0, float("inf")]


def test_only_a_source_with_a_stage_is_moved() -> None:
    with pytest.raises(ConfigError, match=r"set source\.microscope"):
        orders.move(object(), {"z_um": 1})
    assert orders.move(Stage(), {"z_um": 1}) == "moved to 1"
