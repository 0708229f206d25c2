"""A whole training run: gather, fit every member, leave everything that is needed to export in one folder.

The folder: ``recipe.json``, ``data.sha256`` (fingerprints of the volumes), ``member-K/best.pt`` and
``last.pt``, ``member-K/history.csv``, ``member-K/preview.png``: a validation patch as it is restored by now,
``report.png``: curves, scores, reliability and examples, and ``verdict.json``: whether the network beats a filter.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from care_live.errors import TrainingError
from care_live.model.card import NetworkVerdict
from care_live.training import fit, report
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluate import ScoreRow, estimate, evaluate
from care_live.training.examples import Data, Tell
from care_live.training.export import load_member
from care_live.training.filter_verdict import save as save_verdict
from care_live.training.filter_verdict import verdict_of
from care_live.training.fit import Progress
from care_live.training.inference import Applied
from care_live.training.loading import gather
from care_live.training.preview import judge
from care_live.training.recipe import Recipe
from care_live.training.time_budget import TrainingPlan, settle
from care_live.training.watched import Watched

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run gave."""

    recipe: Recipe
    """Its updates and filters settled."""
    histories: tuple[TrainingHistory, ...]
    """One a member."""
    verdict: NetworkVerdict | None
    """None: its images cannot be compared with filtered ones."""


def train(
    recipe: Recipe,
    run: Path,
    *,
    on_plan: Callable[[TrainingPlan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] | None = None,
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
    gathered = gather(recipe, tell)
    begun = _begun(recipe, run)
    plan = settle(begun or recipe, gathered, clock=clock, is_settled=begun is not None)
    recipe = plan.recipe
    on_plan(plan)
    run.mkdir(parents=True, exist_ok=True)
    (run / RECIPE_FILE).write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    (run / "data.sha256").write_text("\n".join(gathered.fingerprints) + "\n", encoding="utf-8")
    histories = []
    for member in range(recipe.members):
        with Watched(run / f"member-{member}", on_progress, tensorboard=recipe.fit.tensorboard) as watched:
            histories.append(fit.fit(recipe, gathered, run, member=member, on_progress=watched.show))
        _write_history(run / f"member-{member}" / "history.csv", histories[-1])
    judged = _judged(recipe, gathered, run)
    verdict, title, rows = None, "", _scored(judged, gathered)
    if rows:
        is_estimate = gathered.second_noise > 0
        verdict = verdict_of(rows[0], histories, n_training=len(gathered.training), estimated=is_estimate)
    if verdict is not None:
        save_verdict(run, verdict)
        title = verdict.sentence()
    report.draw_training(histories, judged, run / "report.png", rows=rows, title=title)
    return Trained(recipe, tuple(histories), verdict)


def _begun(recipe: Recipe, run: Path) -> Recipe | None:
    """Return the recipe with what an interrupted run with a budget had settled; None: there is no such run.

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
    return judge(members, examples, divisor=recipe.network.divisor)


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
