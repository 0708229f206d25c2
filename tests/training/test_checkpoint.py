"""Checkpoints that training does not go on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from care_live.errors import TrainingError
from care_live.training.checkpoint import TrainingState, load_state, save_state
from care_live.training.data.examples import Data, PairedVolume
from care_live.training.fit import fit
from tests.training.conftest import small_recipe


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path, small_data: Data) -> None:
    fit(small_recipe(tmp_path), small_data, tmp_path / "run")
    with pytest.raises(TrainingError, match="another recipe"):
        fit(small_recipe(tmp_path, fit={"learning_rate": 1e-4}), small_data, tmp_path / "run")


def test_a_broken_checkpoint_names_the_file(tmp_path: Path, small_data: Data) -> None:
    fit(small_recipe(tmp_path), small_data, tmp_path / "run")
    last = tmp_path / "run" / "member-0" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"last\.pt is no checkpoint"):
        fit(small_recipe(tmp_path), small_data, tmp_path / "run")


def test_the_best_weights_are_those_with_the_least_error() -> None:
    """The likelihood of the scale may be best elsewhere."""
    state = TrainingState.fresh(torch.nn.Linear(1, 1))
    found = [state.note(loss=1.0, validation=v, error=e, rate=0.1) for v, e in ((0.5, 0.3), (0.4, 0.4), (0.6, 0.2))]
    assert found == [True, False, True]


def test_an_error_that_is_no_number_is_not_the_least() -> None:
    state = TrainingState.fresh(torch.nn.Linear(1, 1))
    found = [state.note(loss=1.0, validation=0.5, error=e, rate=0.1) for e in (0.5, float("nan"), 0.4)]
    assert found == [True, False, True]


def test_a_run_that_has_kept_no_number_for_its_least_error_goes_on_by_its_list(tmp_path: Path) -> None:
    state = TrainingState.fresh(torch.nn.Linear(1, 1))
    for error in (0.5, float("nan"), 0.4):
        state.note(loss=1.0, validation=0.5, error=error, rate=0.1)
    state.least_error = float("nan")
    save_state(tmp_path / "last.pt", state, {}, small_recipe(tmp_path))
    assert load_state(tmp_path / "last.pt", None, torch.device("cpu"))[0].least_error == 0.4


def as_an_older_version_wrote(path: Path, *, errors: list[float]) -> None:
    """Take out of a checkpoint what older versions did not keep."""
    tree = torch.load(path, weights_only=True)
    del tree["least_error"]
    tree["history"]["error"] = errors
    torch.save(tree, path)


@pytest.mark.parametrize("knows_errors", [False, True])
def test_the_best_weights_of_an_older_run_stay_where_it_gets_no_better(
    tmp_path: Path, small_data: Data, *, knows_errors: bool
) -> None:
    run = tmp_path / "run"
    first = fit(small_recipe(tmp_path), small_data, run)
    member = run / "member-0"
    for name in ("best.pt", "last.pt"):
        as_an_older_version_wrote(member / name, errors=first.error if knows_errors else [])
    before = (member / "best.pt").read_bytes()
    worse = Data([shuffled(small_data)], small_data.validation)
    history = fit(small_recipe(tmp_path, fit={"n_updates": 18}), worse, run)
    assert history.update == [6, 12, 18]
    assert history.error[-1] > min(first.error)
    assert (member / "best.pt").read_bytes() == before


def shuffled(data: Data) -> PairedVolume:
    """A volume whose target has nothing to do with its input: a network gets worse by it."""
    volume = data.training[0]
    assert isinstance(volume, PairedVolume)
    return replace(volume, target=np.random.default_rng(0).permutation(volume.target, axis=-1))
