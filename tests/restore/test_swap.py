"""Hot swap: the run goes on with the old network until the new one has proved itself; and back again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from care_live.config import RestoreConfig
from care_live.errors import RestoreError
from care_live.restore import talk
from care_live.restore.engine import Engine
from care_live.restore.inference_process import Inference
from care_live.restore.process import RestoreProcess
from tests.restore.networks import noisy, save_network, volume

pytestmark = pytest.mark.timeout(120)
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
    names, deadline = set(), time.monotonic() + 60
    while not process.swap_phase.startswith(phase) or (phase == "" and process.swap_phase):
        (restored,) = process.restore([STACK])
        names.add(restored.model.name)
        assert time.monotonic() < deadline, process.swap_phase
        time.sleep(0.02)
    return names


@pytest.mark.slow
def test_a_new_network_takes_over_between_volumes_and_can_be_taken_back(
    process: RestoreProcess, networks: dict[str, Path]
) -> None:
    (old,) = process.restore([STACK])
    process.swap(networks["new"])
    assert restore_until(process, "") == {"old"}
    assert process.identity.name == "new"
    (new,) = process.restore([STACK])
    assert new.model.name == "new"
    assert (new.low, new.high) == (old.low, old.high)
    assert (new.mean == Engine(networks["new"], settings(networks["new"])).restore([STACK])[0].mean).all()
    assert process.comparison is not None
    assert 0 < process.comparison.rms < process.comparison.largest
    assert f"{process.comparison.rms:.2%} of its range" in str(process.comparison)
    process.rollback()
    assert process.comparison is None
    (again,) = process.restore([STACK])
    assert again.model.name == "old"
    assert (again.mean == old.mean).all()
    assert process.n_restarts == 0


@pytest.mark.slow
def test_a_candidate_is_warm_before_it_is_tried(
    process: RestoreProcess, networks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Path | None, talk.Request]] = []
    tell = Inference.tell

    def noted(inference: Inference, message: talk.Request) -> None:
        told.append((inference.config.model, message))
        tell(inference, message)

    monkeypatch.setattr(Inference, "tell", noted)
    process.swap(networks["new"])
    restore_until(process, "")
    warm_up, work = [message for model, message in told if model == networks["new"]][:2]
    assert warm_up == talk.WarmUp((6, 20, 22))
    assert isinstance(work, talk.Work)


@pytest.mark.slow
def test_a_broken_network_changes_nothing(process: RestoreProcess, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    process.swap(tmp_path / "broken.onnx")
    assert restore_until(process, "refused") == {"old"}
    assert "no ONNX" in process.swap_phase
    assert process.restore([STACK])[0].model.name == "old"


@pytest.mark.slow
def test_a_network_of_another_kind_is_refused(process: RestoreProcess, networks: dict[str, Path]) -> None:
    process.swap(networks["flat"])
    restore_until(process, "refused")
    assert "task upsample" in process.swap_phase


@pytest.mark.slow
def test_a_candidate_that_dies_changes_nothing(process: RestoreProcess, networks: dict[str, Path]) -> None:
    children = set(psutil.Process().children())
    process.swap(networks["new"])
    (candidate,) = set(psutil.Process().children()) - children
    candidate.kill()
    restore_until(process, "refused")
    assert process.restore([STACK])[0].model.name == "old"


@pytest.mark.slow
def test_nothing_to_roll_back(process: RestoreProcess) -> None:
    with pytest.raises(RestoreError, match="no swap"):
        process.rollback()
