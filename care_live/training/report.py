"""Pictures of a training run and of a network: curves, examples, scores, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.model.reliability import LEVELS
from care_live.training.applied import Applied
from care_live.training.calibrate import Reliability
from care_live.training.checkpoint import History
from care_live.training.evaluate import Row


def draw_curves(histories: Sequence[History], path: Path) -> None:
    """Draw training and validation loss and the learning rate of every member."""
    figure, (left, right) = _figure(1, 2, size=(9, 3.5))
    for member, history in enumerate(histories):
        left.plot(history.update, history.loss, color=f"C{member}", alpha=0.4, label=f"member {member}, training")
        left.plot(history.update, history.validation, color=f"C{member}", label=f"member {member}, validation")
        right.semilogy(history.update, history.learning_rate, color=f"C{member}")
    left.set(xlabel="update", ylabel="loss (nats where Laplace)")
    left.legend(fontsize=6)
    right.set(xlabel="update", ylabel="learning rate")
    _save(figure, path)


def draw_scores(rows: Sequence[Row], examples: Sequence[Applied], path: Path) -> None:
    """Draw PSNR per condition, and raw | restored | uncertainty | truth of one volume of each."""
    figure, axes = _figure(1 + len(examples), 4, size=(11, 3 * (1 + len(examples))))
    axes = np.atleast_2d(axes)
    places = np.arange(len(rows))
    for offset, (name, part) in enumerate((("raw", "raw"), ("best Gaussian", "gaussian"), ("restored", "ours"))):
        axes[0, 0].bar(places + 0.27 * offset, [getattr(row, part).psnr_db for row in rows], 0.25, label=name)
    axes[0, 0].set(xticks=places + 0.27, xticklabels=[row.condition for row in rows], ylabel="PSNR (dB)")
    axes[0, 0].legend(fontsize=6)
    for empty in axes[0, 1:]:
        empty.axis("off")
    for row, example in zip(axes[1:], examples, strict=True):
        _draw_example(row, example)
    _save(figure, path)


def _draw_example(axes: Sequence[Any], example: Applied) -> None:
    blank = np.zeros_like(example.mean)
    images = (example.raw, example.mean, example.laplace_scale if example.laplace_scale is not None else blank)
    titles = (f"raw {example.name}", "restored", "Laplace scale", "truth")
    for panel, image, title in zip(axes, (*images, example.truth), titles, strict=True):
        flat = projected(image[0])
        low, high = np.percentile(flat, (1, 99.8))
        panel.imshow(flat, cmap="magma" if "scale" in title else "gray", vmin=low, vmax=max(high, low + 1e-6))
        panel.set_title(title, fontsize=7)
        panel.axis("off")


def draw_reliability(result: Reliability, path: Path) -> None:
    """Draw observed against nominal coverage before and after, and the error by decile of D."""
    figure, (left, right) = _figure(1, 2, size=(9, 4))
    left.plot((0, 1), (0, 1), color="0.7")
    left.plot(LEVELS, result.calibration.observed_before, "o-", label=f"before, ECE {result.before_ece:.3f}")
    left.plot(LEVELS, result.calibration.observed_after, "s-", label=f"after, ECE {result.after_ece:.3f}")
    left.set(xlabel="nominal coverage", ylabel="observed coverage", title="volumes that fixed nothing")
    left.legend(fontsize=7)
    if result.error_by_disagreement:
        right.bar(range(1, 11), result.error_by_disagreement)
        right.set(xlabel="decile of disagreement D", ylabel="mean absolute error (normalised)")
    else:
        right.axis("off")
    _save(figure, path)


def projected(image: NDArray[Any]) -> NDArray[Any]:
    """Return the maximum over z of (z, y, x)."""
    return np.asarray(image.max(axis=0))


def _figure(rows: int, columns: int, *, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
