"""The memory that a network needs, from its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.model.file import read_card
from care_live.restore import footprint, select
from tests.make.networks import save_network


def test_the_footprint_is_counted_from_the_graph(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", filters=4, depth=1)
    need = footprint.measure(path, read_card(path))
    # The widest moment: 8 upsampled and 4 skipped channels, and the two joined, at full size.
    assert need.values_per_px == pytest.approx(8)
    assert 16 <= need.bytes_per_px / (4 * footprint.WORKSPACE) <= 32


def test_volumes_of_planes_need_less_than_volumes_at_once(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx", filters=8)
    whole, planes = (footprint.measure(path, read_card(path), planewise=planewise) for planewise in (False, True))
    assert 0.3 * whole.bytes_per_px < planes.bytes_per_px < 0.9 * whole.bytes_per_px
    flat = save_network(tmp_path / "flat.onnx", ndim=2)
    assert footprint.measure(flat, read_card(flat), planewise=True) == footprint.measure(flat, read_card(flat))


def test_more_filters_need_more_memory_and_allow_smaller_tiles(tmp_path: Path) -> None:
    paths = [save_network(tmp_path / f"net{n}.onnx", filters=n) for n in (2, 16)]
    needs = [footprint.measure(path, read_card(path), planewise=True) for path in paths]
    budgets = [select.budget_px(need, "cpu") for need in needs]
    assert budgets[0] > 3 * budgets[1]
    whole = footprint.measure(paths[1], read_card(paths[1]))
    assert select.budget_px(whole, "cuda") * whole.values_per_px < 2**31
