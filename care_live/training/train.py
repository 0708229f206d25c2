"""A whole training run: gather, fit every member, leave everything that is needed to export in one folder.

The folder: ``recipe.json``, ``data.sha256`` (fingerprints of the volumes), ``member-K/best.pt`` and
``last.pt``, ``member-K/history.csv``, and ``report.png``: curves, scores, reliability and examples.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from care_live.training import fit, report
from care_live.training.checkpoint import TrainingHistory
from care_live.training.examples import Data, Tell
from care_live.training.export import load_member
from care_live.training.fit import Progress
from care_live.training.inference import Applied
from care_live.training.loading import gather
from care_live.training.preview import judge
from care_live.training.recipe import Recipe


def train(
    recipe: Recipe,
    run: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    tell: Tell = lambda name: None,
) -> tuple[TrainingHistory, ...]:
    """Train a network, or an ensemble, as its recipe says; goes on where an earlier call stopped.

    Parameters
    ----------
    run : folder to write to; made when absent
    tell : called with the name of each volume as it is read or simulated

    Returns
    -------
    One history a member.

    Raises
    ------
    TrainingError
        The data cannot be used, a checkpoint is of another recipe, or the loss is no longer finite.
    """
    gathered = gather(recipe, tell)
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    (run / "data.sha256").write_text("\n".join(gathered.fingerprints) + "\n", encoding="utf-8")
    histories = []
    for member in range(recipe.members):
        histories.append(fit.fit(recipe, gathered, run, member=member, on_progress=on_progress))
        _write_history(run / f"member-{member}" / "history.csv", histories[-1])
        if recipe.fit.tensorboard:
            _write_tensorboard(run / f"member-{member}", histories[-1])
    report.draw_training(histories, _judged(recipe, gathered, run), run / "report.png")
    return tuple(histories)


def _judged(recipe: Recipe, gathered: Data, run: Path) -> list[Applied]:
    """Restore some of the validation volumes with the best weights of every member."""
    members = [load_member(run / f"member-{member}" / "best.pt", recipe) for member in range(recipe.members)]
    return judge(members, gathered.validation, divisor=recipe.network.divisor)


def _write_history(path: Path, history: TrainingHistory) -> None:
    rows = zip(history.update, history.loss, history.validation, history.learning_rate, strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("update", "loss", "validation_loss", "learning_rate"))
        writer.writerows(rows)


def _write_tensorboard(folder: Path, history: TrainingHistory) -> None:
    """Write the curves for TensorBoard, which must be installed beside the [train] extra."""
    from care_live.imports import need

    need("tensorboard", extra="train")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for number, update in enumerate(history.update):
            writer.add_scalar("loss", history.loss[number], update)
            writer.add_scalar("validation_loss", history.validation[number], update)
            writer.add_scalar("learning_rate", history.learning_rate[number], update)
