"""The benchmarks of streaming run, on a field so small that only their keys and differences mean anything."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return lambda name, *arguments: importlib.import_module(f"benches.{name}").measure(list(arguments))


@pytest.mark.slow
def test_last_plane_is_exact(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # torch's exporter shows a bar, whose thread would stay
    figures = bench("last-plane", "--field", "16", "--pairs", "1", "--threads", "1")
    default = {"ratio_32", "ratio_64", "stream_total_32", "stream_total_64", "max_rel_diff"}
    of_each = {"ratio_32", "last_s", "planes_ahead"}
    assert set(figures) == default | {f"{name}_{each}" for name in ("train", "look_ahead_4") for each in of_each}
    assert figures["max_rel_diff"] < 2e-6  # of all networks
    assert (figures["train_planes_ahead"], figures["look_ahead_4_planes_ahead"]) == (10, 4)


def test_overhead_takes_the_whole_path(bench) -> None:
    tiny = ["--shape", "8", "64", "64", "--tile", "60", "--volumes", "1", "--filters", "2", "--members", "1"]
    figures = bench("overhead", *tiny)
    assert set(figures) == {"tiled_1", "streamed_1"}
    assert min(figures.values()) > 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exact", "streamed", "merged_2"])
def test_what_is_counted_bounds_what_memory_grows_by(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    figures = importlib.import_module("benches.memory").grown(how, (16, 80, 80), threads=1)
    assert 1 < figures["counted_over_grown"] < 1.7


@pytest.mark.slow
def test_efficiency_is_a_share_of_the_peak(bench) -> None:
    figures = bench("efficiency", "--shape", "4", "32", "32", "--pairs", "1", "--threads", "1")
    assert set(figures) == {"exact_over_peak", "done_over_peak", "ort_over_peak", "peak_gflops"}
    assert 0 < figures["done_over_peak"] < figures["exact_over_peak"] < 10
