"""A whole training run: gather, fit every member, leave everything that is needed to export in one folder.

The folder: ``recipe.json``, ``data.sha256`` (fingerprints of the volumes), ``member-K/best.pt`` and
``last.pt``, ``member-K/history.csv``, ``member-K/preview.png``: a validation patch as it is restored by now,
``report.png``: curves, scores, reliability and examples, and ``verdict.json``: whether the network beats a filter.

Of a budget in minutes, an update is timed, and gives the number of updates, and of filters. A larger network restores
better once it has had enough updates, and worse before: so the budget decides. Its figures are a function of the time
of an update alone, so they hold for a laptop as for a GPU.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from care_live.errors import TrainingError
from care_live.model.card import NetworkVerdict
from care_live.training import fit, report
from care_live.training.checkpoint import TrainingHistory
from care_live.training.data import patches, training_domain
from care_live.training.data.examples import Data, Tell
from care_live.training.data.loading import gather
from care_live.training.data_parallel import ProcessGroup, joined
from care_live.training.evaluation.evaluate import ScoreRow, estimate, evaluate
from care_live.training.evaluation.filter_verdict import save as save_verdict
from care_live.training.evaluation.filter_verdict import verdict_of
from care_live.training.evaluation.inference import Applied
from care_live.training.export import load_member
from care_live.training.fit import Fitter, choose_device
from care_live.training.preview import Progress, Watched, judge
from care_live.training.recipe import Recipe
from care_live.training.training_plan import SHARE_OF_UPDATES, TrainingPlan

OnProgress: TypeAlias = Callable[[Progress], None]
RECIPE_FILE = "recipe.json"
ENOUGH_UPDATES = {8: 1, 16: 700, 32: 3_000}
"""By filters: fewer updates are better spent on the next smaller network. On nuclei, in 58 s of one core, 377 updates
of 16 filters came to 27.9 dB, 875 of 8 filters to 28.1 dB."""
MOST_PASSES = 300
"""Through the training images; from then on a network learns them by heart. On 5 planes of a dividing cell it was best
after 180 to 300."""
MOST_PASSES_NOISY, ENOUGH_UPDATES_NOISY = 40, 800
"""The same with noisy images alone, and updates that few images are good for, too: the pattern of a camera's pixels is
in all of them, and is learnt by heart next. CHO cells were 1.6 dB above the best Gaussian after 830 updates, 40 passes,
and 0.4 dB after 3,900; a dividing cell 1.2 dB after 160, 40 passes, and 2.8 dB after 820."""
MOST_FILTERS_NOISY = 16
N_TIMED, LONGEST_TRIAL_S = 5, 10.0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gave."""

    recipe: Recipe
    """Its updates and filters settled."""
    histories: tuple[TrainingHistory, ...]
    """One a member."""
    verdict: NetworkVerdict | None
    """None: its images cannot be compared with filtered ones."""
    is_first: bool = True
    """False in all processes but one of a training on several GPUs; that one prints and exports."""


def train(
    recipe: Recipe,
    run: Path,
    *,
    on_plan: Callable[[TrainingPlan], None] = lambda plan: None,
    on_progress: OnProgress | None = None,
    tell: Tell = lambda name: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Trained:
    """Train a network, or an ensemble, as its recipe says; goes on where an earlier call stopped.

    Parameters
    ----------
    run : folder to write to; made when absent
    on_plan : called with what the run will do, before it begins
    tell : called with the name of each volume as it is read or simulated
    clock : seconds, by which a budget is spent

    Raises
    ------
    TrainingError
        The data cannot be used, a checkpoint is of another recipe, or the loss is no longer finite.
    """
    with joined(uses_cuda=choose_device(recipe.fit).type == "cuda") as group:
        gathered = gather(recipe, tell)
        begun = _begun(recipe, run)
        plan = group.shared(settle(begun or recipe, gathered, clock=clock, is_settled=begun is not None))
        recipe = plan.recipe
        if group.is_first:
            on_plan(plan)
            _describe(recipe, gathered, run)
        histories = _fit_members(recipe, gathered, run, on_progress, group=group)
        verdict = _concluded(recipe, gathered, run, histories) if group.is_first else None
    return Trained(recipe, tuple(histories), verdict, is_first=group.is_first)


def _describe(recipe: Recipe, gathered: Data, run: Path) -> None:
    """Write what a run does, and what it learns from."""
    run.mkdir(parents=True, exist_ok=True)
    (run / RECIPE_FILE).write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    (run / "data.sha256").write_text("\n".join(gathered.fingerprints) + "\n", encoding="utf-8")
    training_domain.keep(run, recipe, gathered)


def _fit_members(
    recipe: Recipe, gathered: Data, run: Path, on_progress: OnProgress | None, *, group: ProcessGroup
) -> list[TrainingHistory]:
    histories = []
    for member in range(recipe.members):
        folder = run / f"member-{member}"
        with Watched(folder, on_progress, tensorboard=recipe.fit.tensorboard and group.is_first) as watched:
            show = watched.show if group.is_first else None
            histories.append(fit.fit(recipe, gathered, run, member=member, on_progress=show, group=group))
        if group.is_first:
            _write_history(folder / "history.csv", histories[-1])
    return histories


def _concluded(
    recipe: Recipe, gathered: Data, run: Path, histories: Sequence[TrainingHistory]
) -> NetworkVerdict | None:
    """Draw the report, and return the verdict."""
    judged = _judged(recipe, gathered, run)
    is_estimate = gathered.second_noise > 0
    verdict, rows = None, _scored(judged, gathered)
    if rows:
        verdict = verdict_of(rows[0], histories, n_training=len(gathered.training), estimated=is_estimate)
    save_verdict(run, verdict)
    title = "" if verdict is None else verdict.sentence()
    if is_estimate and verdict is None:
        rows = []
    report.draw_training(histories, judged, run / "report.png", rows=rows, title=title, noise=gathered.noise)
    return verdict


def _begun(recipe: Recipe, run: Path) -> Recipe | None:
    """Return the recipe with what an interrupted run with a budget had settled; None: no such run was interrupted.

    Raises
    ------
    TrainingError
        The run had another budget, for which its learning rate has fallen.
    """
    path = run / RECIPE_FILE
    if not (recipe.fit.minutes and path.exists()):
        return None
    begun = Recipe.model_validate_json(path.read_text(encoding="utf-8"))
    if begun.fit.minutes != recipe.fit.minutes:
        budget = f"{begun.fit.minutes:g} minutes" if begun.fit.minutes else f"{begun.fit.n_updates} updates"
        raise TrainingError(
            f"{run} holds a run of {budget}, not of {recipe.fit.minutes:g} minutes: name another folder with --run, "
            "or another network with --name"
        )
    fit = recipe.fit.model_copy(update={"n_updates": begun.fit.n_updates})
    network = recipe.network.model_copy(update={"filters": begun.network.filters})
    return recipe.model_copy(update={"fit": fit, "network": network})


def _judged(recipe: Recipe, gathered: Data, run: Path) -> list[Applied]:
    """Restore some of the validation volumes with the best weights of every member."""
    members = [load_member(run / f"member-{member}" / "best.pt", recipe) for member in range(recipe.members)]
    examples = gathered.validation if gathered.judged is None else gathered.judged
    return judge(members, examples, divisor=recipe.network.divisor, n_channels=recipe.network.n_channels_in)


def _scored(judged: Sequence[Applied], gathered: Data) -> list[ScoreRow]:
    """Score what was restored; nothing where the noise of the images is unknown."""
    if not judged:
        return []
    if gathered.second_noise:
        return [estimate(judged, second_noise=gathered.second_noise)]
    return evaluate(judged, classical=True)


def _write_history(path: Path, history: TrainingHistory) -> None:
    rows = zip(history.update, history.loss, history.validation, history.learning_rate, strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("update", "loss", "validation_loss", "learning_rate"))
        writer.writerows(rows)


def settle(
    recipe: Recipe, data: Data, *, clock: Callable[[], float] = time.perf_counter, is_settled: bool = False
) -> TrainingPlan:
    """Return what a run will do; a recipe with a budget gets its number of updates, and of filters.

    Parameters
    ----------
    clock : seconds; the process's CPU time where that is the budget
    is_settled : an interrupted run has settled updates and filters already
    """
    plan = patches.plan_for(recipe, data.training, turns=data.turns)
    patches.plan_for(recipe, data.validation)
    update_s = None
    if recipe.fit.minutes and not is_settled:
        recipe, update_s = _afforded(recipe, data, clock)
    is_enough = update_s is not None and recipe.fit.n_updates == useful_updates(recipe, data)
    return TrainingPlan(
        recipe,
        n_training=len(data.training),
        n_validation=len(data.validation),
        patch_px=plan.patch_px,
        device=choose_device(recipe.fit).type,
        update_s=update_s,
        is_enough=is_enough,
        noise=data.noise,
    )


def _afforded(recipe: Recipe, data: Data, clock: Callable[[], float]) -> tuple[Recipe, float]:
    """Return the recipe with the largest network that gets enough updates, and the seconds of one."""
    budget_s, most = SHARE_OF_UPDATES * 60 * recipe.fit.minutes, useful_updates(recipe, data)
    afforded: tuple[Recipe, float] | None = None
    is_noisy = recipe.data.kind == "noisy"
    is_free = "filters" not in recipe.network.model_fields_set
    for filters, enough in ENOUGH_UPDATES.items() if is_free else [(recipe.network.filters, 1)]:
        if afforded and (budget_s < enough * afforded[1] or (is_noisy and filters > MOST_FILTERS_NOISY)):
            break
        tried = _with(recipe, filters=filters)
        update_s = time_update(tried, data, clock=clock)
        if afforded and budget_s < enough * update_s:
            break
        afforded = _with(tried, n_updates=max(1, min(most, int(budget_s / update_s)))), update_s
    assert afforded is not None
    return afforded


def useful_updates(recipe: Recipe, data: Data) -> int:
    """Return after how many updates a network has seen each voxel `MOST_PASSES` times, or `MOST_PASSES_NOISY`."""
    is_noisy = recipe.data.kind == "noisy"
    plan = patches.plan_for(recipe, data.training, turns=data.turns)
    n_voxels = sum(math.prod(example.shape_px) for example in data.training)
    of_passes = (MOST_PASSES_NOISY if is_noisy else MOST_PASSES) * n_voxels
    n_updates = -(-of_passes // (recipe.fit.batch * math.prod(plan.patch_px)))
    return max(n_updates, ENOUGH_UPDATES_NOISY) if is_noisy else n_updates


def time_update(recipe: Recipe, data: Data, *, clock: Callable[[], float]) -> float:
    """Return the seconds of one update, its patches included: the median of a few, after a first one."""
    plan = patches.plan_for(recipe, data.training, turns=data.turns)
    fitter = Fitter(recipe, member=0, seen=patches.measured_patches(recipe, data, n=recipe.fit.batch))
    took: list[float] = []
    begun = clock()
    for number in range(1 + N_TIMED):
        start = clock()
        fitter.step(patches.draw_batch(data.training, plan, n=recipe.fit.batch, rng=np.random.default_rng(number)), 1)
        took.append(clock() - start)
        if clock() - begun > LONGEST_TRIAL_S and number:
            break
    return float(np.median(took[1:]))


def _with(recipe: Recipe, *, filters: int | None = None, n_updates: int | None = None) -> Recipe:
    network = recipe.network if filters is None else recipe.network.model_copy(update={"filters": filters})
    fit = recipe.fit if n_updates is None else recipe.fit.model_copy(update={"n_updates": n_updates})
    return recipe.model_copy(update={"network": network, "fit": fit})
