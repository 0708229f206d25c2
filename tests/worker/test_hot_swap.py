"""Hot swap: the run goes on with the old network until the new one has proved itself; and back again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from care_live.config import ChannelConfig, RestoreConfig
from care_live.errors import RestoreError, WorkerLostError
from care_live.images import Restored
from care_live.model.card import ModelCard
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.restore.engine import Engine
from care_live.worker import protocol, trial
from care_live.worker.client import RestoreProcess
from care_live.worker.inference_process import Inference
from tests.make.networks import Graph, noisy, save_graph, save_network, volume
from tests.make.waiting import until

pytestmark = pytest.mark.timeout(600)
STACK = volume(noisy((6, 20, 22)))


def settings(model: Path) -> RestoreConfig:
    return RestoreConfig(model=model, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "old": save_network(folder / "old.onnx", filters=2, seed=1),
        "new": save_network(folder / "new.onnx", filters=2, seed=2),
        "flat": save_network(folder / "flat.onnx", filters=2, task="upsample", factor=2.0),
    }


@pytest.fixture
def process(networks: dict[str, Path]) -> Iterator[RestoreProcess]:
    ours = RestoreProcess(settings(networks["old"]))
    ours.start()
    yield ours
    ours.stop()


def restore_until(process: RestoreProcess, phase: str) -> set[str]:
    """Restore volume after volume until the swap is there; return the names of the networks that did it."""
    names, deadline = set(), time.monotonic() + 120
    while not process.hot_swap.state.startswith(phase):
        (restored,) = process.restore([STACK])
        names.add(restored.model.name)
        assert time.monotonic() < deadline, process.hot_swap.state
        time.sleep(0.02)
    return names


@pytest.mark.slow
def test_a_new_network_takes_over_between_volumes_and_can_be_taken_back(
    process: RestoreProcess, networks: dict[str, Path]
) -> None:
    (old,) = process.restore([STACK])
    process.hot_swap.order(networks["new"])
    assert restore_until(process, "took over") == {"old"}
    assert process.network.identity.name == "new"
    (new,) = process.restore([STACK])
    assert new.model.name == "new"
    assert (new.low, new.high) == (old.low, old.high)
    assert (new.mean == Engine(networks["new"], settings(networks["new"])).restore([STACK])[0].mean).all()
    rms, largest = map(float, re.findall(r"([\d.]+)%", process.hot_swap.state))
    assert 0 < rms < largest
    assert "times as long as the network before" in process.hot_swap.state
    process.rollback()
    assert process.hot_swap.state == "rolled back"
    (again,) = process.restore([STACK])
    assert again.model.name == "old"
    assert (again.mean == old.mean).all()
    assert process.supervisor.n_restarts == 0


@pytest.mark.slow
def test_a_candidate_is_warm_before_it_is_tried(
    process: RestoreProcess, networks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Path | None, protocol.InferenceRequest]] = []
    send = Inference.send

    def noted(inference: Inference, message: protocol.InferenceRequest) -> None:
        sent.append((inference.config.model, message))
        send(inference, message)

    shown, advance = ["loading"], trial.Candidate.advance

    def watched(candidate: trial.Candidate, *arguments: Any) -> None:
        advance(candidate, *arguments)
        if candidate.phase == "proved":  # another thread asks for the status just now
            thread = threading.Thread(target=lambda: shown.append(process.hot_swap.state))
            thread.start()
            thread.join(0.5)

    monkeypatch.setattr(Inference, "send", noted)
    monkeypatch.setattr(trial.Candidate, "advance", watched)
    process.hot_swap.order(networks["new"])
    restore_until(process, "took over")
    until(lambda: len(shown) == 2, 60.0)
    assert shown[1].startswith("took over"), "never the result of the swap before"
    warm_up, work = [message for model, message in sent if model == networks["new"]][:2]
    assert warm_up == protocol.WarmUp((6, 20, 22))
    assert isinstance(work, protocol.Work)


@pytest.mark.slow
def test_a_broken_network_changes_nothing(process: RestoreProcess, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    process.hot_swap.order(tmp_path / "broken.onnx")
    assert restore_until(process, "refused") == {"old"}
    assert "not an ONNX file" in process.hot_swap.state
    assert process.restore([STACK])[0].model.name == "old"


@pytest.mark.slow
def test_a_network_of_another_kind_is_refused(process: RestoreProcess, networks: dict[str, Path]) -> None:
    process.hot_swap.order(networks["flat"])
    restore_until(process, "refused")
    assert "task upsample" in process.hot_swap.state


@pytest.mark.slow
def test_a_candidate_that_dies_changes_nothing(process: RestoreProcess, networks: dict[str, Path]) -> None:
    children = set(psutil.Process().children())
    process.hot_swap.order(networks["new"])
    (candidate,) = set(psutil.Process().children()) - children
    candidate.kill()
    restore_until(process, "refused")
    assert process.restore([STACK])[0].model.name == "old"


@pytest.mark.slow
def test_nothing_to_roll_back(process: RestoreProcess) -> None:
    with pytest.raises(RestoreError, match="no swap"):
        process.rollback()


def settled(process: RestoreProcess) -> str:
    """Look after a swap while no volume comes, as the daemon does; return what came of it."""
    deadline = time.monotonic() + 120
    while process.hot_swap.state in ("loading", "trying"):
        process.watch()
        assert time.monotonic() < deadline, process.hot_swap.state
        time.sleep(0.05)
    return process.hot_swap.state


def candidate_of(process: RestoreProcess, model: Path, **how: object) -> psutil.Process:
    """Order a swap; return the new network's process."""
    children = set(psutil.Process().children())
    process.hot_swap.order(model, **how)
    (candidate,) = set(psutil.Process().children()) - children
    return candidate


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
def test_a_candidate_that_hangs_is_given_up_while_no_volume_comes(networks: dict[str, Path]) -> None:
    process = RestoreProcess(settings(networks["old"]).model_copy(update={"hang_s": 0.2}))
    process.start()
    try:
        candidate_of(process, networks["new"]).suspend()
        assert "refused: its process hung" in settled(process)
        assert restored_in_the_end(process).model.name == "old"
    finally:
        process.stop()


def restored_in_the_end(process: RestoreProcess) -> Restored:
    """Restore again where a busy machine gave the running network no processor for as long as a hang takes here."""
    while True:
        with contextlib.suppress(WorkerLostError):
            return process.restore([STACK])[0]


@pytest.mark.slow
def test_a_candidate_that_is_not_done_in_time_is_given_up(
    process: RestoreProcess, networks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LOAD_S", 0.0)
    candidate_of(process, networks["new"])
    assert settled(process) == "refused: it was not done with loading in time"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that takes more than four times as long as the old one."""
    return save_network(tmp_path_factory.mktemp("slow") / "slow.onnx", filters=32, depth=2, seed=3)


@pytest.mark.slow
def test_a_network_that_cannot_keep_up_is_refused_with_its_figures(
    process: RestoreProcess, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MUCH_SLOWER", 0.0)  # a busy machine may slow down the running network as much
    process.hot_swap.order(slow, interval_s=lambda: 1e-3)
    assert restore_until(process, "refused") == {"old"}
    assert re.search(
        r"too slow: it takes .* s a volume, [\d.]+ times as long .* one comes every 0.001 s", process.hot_swap.state
    )
    process.hot_swap.order(slow, interval_s=lambda: 1e-3, even_if_slow=True)
    restore_until(process, "took over")
    assert process.network.identity.name == "slow"


@pytest.mark.slow
def test_a_slow_network_that_keeps_up_takes_over_and_says_how_slow_it_is(process: RestoreProcess, slow: Path) -> None:
    process.hot_swap.order(slow, interval_s=lambda: 60.0)
    restore_until(process, "took over")
    assert re.search(r"it takes .* s a volume, [\d.]+ times as long .* one comes every 60 s", process.hot_swap.state)


@pytest.mark.slow
def test_what_goes_wrong_in_a_trial_costs_no_volume(
    process: RestoreProcess, networks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room for the trial")

    monkeypatch.setattr(trial, "lay_out", fail)
    process.hot_swap.order(networks["new"])
    assert restore_until(process, "refused") == {"old"}
    assert "no room for the trial" in process.hot_swap.state


@pytest.mark.slow
def test_a_new_network_that_dies_over_its_first_volumes_is_taken_back(
    process: RestoreProcess, networks: dict[str, Path]
) -> None:
    new = candidate_of(process, networks["new"])
    restore_until(process, "took over")
    new.kill()
    with pytest.raises(RestoreError, match="old, the network before it, goes on"):
        while True:
            process.restore([STACK])
            assert process.network.identity.name == "new"
    assert process.hot_swap.state.startswith("rolled back: the new network")
    assert process.restore([STACK])[0].model.name == "old"
    with pytest.raises(RestoreError, match="no swap"):
        process.rollback()


@pytest.mark.slow
def test_a_network_that_is_taken_back_takes_the_one_on_trial_with_it(
    process: RestoreProcess, networks: dict[str, Path]
) -> None:
    new = candidate_of(process, networks["new"])
    restore_until(process, "took over")
    candidate = candidate_of(process, networks["old"])  # a child of the daemon, with all else as in the new one
    new.kill()
    with pytest.raises(RestoreError, match="the network before it, goes on"):
        while True:
            process.restore([STACK])
    assert process.hot_swap.state.startswith("rolled back: the new network")
    candidate.wait(60)
    assert not process.hot_swap.is_proved
    assert process.restore([STACK])[0].model.name == "old"


def bright_voxels_are_no_numbers(path: Path) -> Path:
    graph = Graph(3, seed=1)
    x = graph.add("Cast", "raw", to=1)
    nothing = graph.add("Mul", graph.add("Sqrt", graph.add("Sub", graph.constant(50_000.0), x)), graph.constant(0.0))
    graph.add("Add", x, nothing, output="mean")
    graph.add("Add", nothing, graph.constant(1.0), output="laplace_scale")
    graph.add("Add", "low", "high")
    card = ModelCard(name=path.stem, divisor=(1,) * 3, halo_px=(0,) * 3, heads=("mean", "laplace_scale"))
    return save_graph(path, graph, card)


@pytest.mark.slow
def test_a_new_network_that_gives_no_numbers_later_is_taken_back(process: RestoreProcess, tmp_path: Path) -> None:
    process.hot_swap.order(bright_voxels_are_no_numbers(tmp_path / "bright.onnx"))
    restore_until(process, "took over")
    bright = noisy((6, 20, 22))
    bright[3] = 60_000
    (flagged,) = process.restore([volume(bright)])
    assert "nan_fixed" in flagged.flags
    assert process.hot_swap.state == "rolled back: the new network gave no numbers"
    assert process.restore([STACK])[0].model.name == "old"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process in its tracks")
def test_orders_and_planes_never_wait_for_inference_that_hangs(networks: dict[str, Path]) -> None:
    process = RestoreProcess(settings(networks["old"]).model_copy(update={"hang_s": 250.0}))
    process.start()
    pid = process.supervisor.process_id
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    failed: list[RestoreError] = []

    def restore() -> None:
        try:
            process.restore([STACK])
        except RestoreError as error:
            failed.append(error)

    stuck = threading.Thread(target=restore)
    stuck.start()
    began = time.monotonic()
    for _ in range(20_000):  # far more than a pipe holds
        process.supervisor.warm_up((6, 20, 22))
    process.hot_swap.order(networks["new"])
    process.arrivals.restored_planes()
    assert process.hot_swap.state == "loading"
    process.stop(1.0)
    stuck.join(60)
    assert len(failed) == 1
    assert time.monotonic() - began < 120  # it hung for ever


@pytest.mark.slow
def test_of_two_networks_that_of_the_named_channel_changes(networks: dict[str, Path]) -> None:
    entries = tuple(ChannelConfig(name=name, model=networks["old"]) for name in ("GFP", "RFP"))
    process = RestoreProcess(RestoreConfig(channel=entries, provider="cpu", threads=1))
    process.arrivals.channels = ChannelChoice((ChannelGroup(0, (0,)), ChannelGroup(1, (1,))), None)
    process.start()
    try:
        both = [volume(noisy((6, 20, 22)), c=c) for c in (0, 1)]
        process.hot_swap.order(networks["new"], network=1)
        deadline = time.monotonic() + 120
        while not process.hot_swap.state.startswith("took over"):
            for one in both:
                process.restore([one])
            assert time.monotonic() < deadline, process.hot_swap.state
            time.sleep(0.02)
        made = [process.restore([one])[0].model.name for one in both]
        assert made == [network.identity.name for network in process.networks] == ["old", "new"]
        process.rollback()
        assert [network.identity.name for network in process.networks] == ["old", "old"]
    finally:
        process.stop()
