"""One GPU of several, chosen by number."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from care_live.backends.visible_gpu import VISIBLE, choose, one_of
from care_live.errors import ConfigError


@pytest.mark.parametrize(
    ("visible", "device", "wanted"), [(None, 3, "3"), ("2,5", 0, "2"), ("2, 5", 1, "5"), ("GPU-ab,GPU-cd", 1, "GPU-cd")]
)
def test_a_device_is_a_number_or_a_place_in_what_cuda_may_see(visible: str | None, device: int, wanted: str) -> None:
    assert one_of(visible, device) == wanted


@pytest.mark.parametrize("visible", ["", "0,1"])
def test_a_device_that_is_not_there_is_refused(visible: str) -> None:
    with pytest.raises(ConfigError, match=r"restore\.device is 2, but CUDA_VISIBLE_DEVICES lists [02] GPU\(s\)"):
        one_of(visible, 2)


def test_the_first_device_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "7,8")
    choose(0)
    assert os.environ[VISIBLE] == "7,8"


def test_a_network_opened_again_is_on_the_same_device() -> None:
    code = (
        "import os; from care_live.backends.visible_gpu import choose; choose(1); choose(1); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['CUDA_DEVICE_ORDER'])"
    )
    environment = os.environ | {VISIBLE: "4,6"}
    environment.pop("CUDA_DEVICE_ORDER", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["6", "PCI_BUS_ID"]
