"""Pictures and words on a training run and on a network: curves, examples, scores, reliability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live.metrics import Scores
from care_live.model.reliability import LEVELS
from care_live.training.checkpoint import TrainingHistory
from care_live.training.evaluation.calibrate import Reliability, as_trained, error_by_disagreement
from care_live.training.evaluation.evaluate import ScoreRow
from care_live.training.evaluation.inference import Applied
from care_live.trust.measured_noise import ALIKE, NoiseCorrelation


def draw_training(
    histories: Sequence[TrainingHistory],
    judged: Sequence[Applied],
    path: Path,
    *,
    rows: Sequence[ScoreRow],
    title: str,
    noise: NoiseCorrelation | None = None,
) -> None:
    """Draw a training run: its curves, how the networks do on validation volumes, and those volumes.

    Parameters
    ----------
    histories : one a member
    judged : validation volumes, restored by all members together
    rows : their scores
    title : the verdict
    noise : of the images, where there is no clean one; such networks have no scale, and no coverage to draw
    """
    figure = _figure(size=(13, 3.2 + 2.4 * len(judged)))
    figure.suptitle(title, fontsize=9)
    heads, below = figure.subfigures(2, 1, height_ratios=(3.2, 2.4 * len(judged))) if judged else (figure, None)
    losses, rates, bars, reliable, doubtful = heads.subplots(1, 5)
    _draw_curves(losses, rates, histories)
    _draw_scores(bars, rows)
    if noise is None:
        _draw_coverage(reliable, {"as trained": as_trained(judged) if judged else ()})
    else:
        _draw_noise(reliable, noise)
    _draw_disagreement(doubtful, error_by_disagreement(judged) if judged else ())
    if below is not None:
        for panels, example in zip(below.subplots(len(judged), 5, squeeze=False), judged, strict=True):
            _draw_example(panels, example)
    _save(figure, path)


def draw_scores(rows: Sequence[ScoreRow], examples: Sequence[Applied], path: Path) -> None:
    """Draw PSNR per condition, the error by decile of D, and one volume of each condition."""
    figure = _figure(size=(13, 3 * (1 + len(examples))))
    axes = figure.subplots(1 + len(examples), 5, squeeze=False)
    _draw_scores(axes[0, 0], rows)
    _draw_disagreement(axes[0, 1], error_by_disagreement(examples))
    for empty in axes[0, 2:]:
        empty.axis("off")
    for panels, example in zip(axes[1:], examples, strict=True):
        _draw_example(panels, example)
    _save(figure, path)


def draw_reliability(result: Reliability, path: Path) -> None:
    """Draw observed against nominal coverage before and after, and the error by decile of D."""
    figure = _figure(size=(9, 4))
    left, right = figure.subplots(1, 2)
    observed = {
        f"before, ECE {result.before_ece:.3f}": result.calibration.observed_before,
        f"after, ECE {result.after_ece:.3f}": result.calibration.observed_after,
    }
    _draw_coverage(left, observed)
    left.set_title("volumes that fixed nothing")
    _draw_disagreement(right, result.error_by_disagreement)
    _save(figure, path)


def reliability_lines(result: Reliability) -> list[str]:
    """Return what a calibration found, a line a level and a line on the bias."""
    mended = result.calibration
    rows = zip(mended.levels, mended.observed_before, mended.observed_after, strict=True)
    lines = [f"{level:6.0%}  before {before:6.1%}  after {after:6.1%}" for level, before, after in rows]
    lines.append(f"ECE before {result.before_ece:.4f} after {result.after_ece:.4f}, NLL {result.nll:.4f}")
    return [*lines, bias_line(result)] if result.is_biased else lines


def bias_line(result: Reliability) -> str:
    """Return in words how far the means are off, and what to do."""
    bias = result.bias
    return (
        f"The means are off more than the widths: truth = {bias.gain:.2f} x restored {bias.offset:+.3f} of the range; "
        f"around means that are put right ECE is {bias.ece_without:.3f} instead of {result.before_ece:.3f}. Wider "
        "intervals would hide it. Train on volumes of this brightness; for a truth of the same exposure give "
        "--truth-unit counts."
    )


def why_not_better(result: Reliability) -> str:
    """Return in words why factors that these volumes fix must not be used."""
    level = LEVELS.index(0.9)
    ranked = sorted(result.judged, key=lambda one: one.before[level])
    worse = [one for one in result.judged if one.after_ece >= one.before_ece]
    return (
        f"on volumes that did not fix them the new factors hold no better: ECE {result.before_ece:.3f} before, "
        f"{result.after_ece:.3f} after, {len(worse)} of {len(result.judged)} judged worse. Today's intervals at 90 % "
        f"hold {ranked[0].before[level]:.0%} ({ranked[0].names[0]}) to {ranked[-1].before[level]:.0%} "
        f"({ranked[-1].names[0]}). Calibrate on more volumes, and on volumes as bright as those you will restore"
    )


def _draw_curves(losses: Any, rates: Any, histories: Sequence[TrainingHistory]) -> None:
    for member, history in enumerate(histories):
        losses.plot(history.update, history.loss, color=f"C{member}", alpha=0.4, label=f"member {member}, training")
        losses.plot(history.update, history.validation, color=f"C{member}", label=f"member {member}, validation")
        rates.semilogy(history.update, history.learning_rate, color=f"C{member}")
    losses.set(xlabel="update", ylabel="loss (nats where Laplace)")
    losses.legend(fontsize=6)
    rates.set(xlabel="update", ylabel="learning rate")


def _draw_scores(panel: Any, rows: Sequence[ScoreRow]) -> None:
    """Draw the PSNR of every condition, its SSIM written on the bars."""
    places = np.arange(len(rows))
    parts = {"raw": "raw", "best Gaussian": "gaussian", "best total variation": "classical", "restored": "ours"}
    if not rows:
        panel.axis("off")
        return
    shown = {name: part for name, part in parts.items() if all(getattr(row, part) for row in rows)}
    step = 0.8 / len(shown)
    for number, (name, part) in enumerate(shown.items()):
        scores = [getattr(row, part) for row in rows]
        bars = panel.bar(places + step * number, [one.psnr_db for one in scores], 0.9 * step, label=name)
        panel.bar_label(bars, [_label(one) for one in scores], fontsize=6)
    panel.set(xticks=places + 0.27, xticklabels=[row.condition for row in rows], ylabel="PSNR (dB), SSIM below")
    panel.margins(y=0.2)
    panel.legend(fontsize=6, loc="lower right")


def _label(one: Scores) -> str:
    """Return PSNR and SSIM for a bar; an estimate from two exposures has no SSIM."""
    return f"{one.psnr_db:.1f}" + ("" if math.isnan(one.ssim) else f"\n{one.ssim:.2f}")


def _draw_coverage(panel: Any, observed: dict[str, tuple[float, ...]]) -> None:
    """Draw observed against nominal coverage, one line an entry; nothing for a network without a scale."""
    if not any(observed.values()):
        panel.axis("off")
        return
    panel.plot((0, 1), (0, 1), color="0.7")
    for marker, (name, shares) in zip("os", observed.items(), strict=False):
        panel.plot(LEVELS, shares, f"{marker}-", label=name)
    panel.set(xlabel="nominal coverage", ylabel="observed coverage")
    panel.legend(fontsize=7)


def _draw_noise(panel: Any, noise: NoiseCorrelation) -> None:
    """Draw how alike the noise of neighbours is, and from where on they are hidden together."""
    step = 0.8 / len(noise.axes)
    for number, (axis, values) in enumerate(noise.axes.items()):
        panel.bar(np.arange(1, len(values) + 1) + step * (number - 1), values, 0.9 * step, label=f"along {axis}")
    panel.axhline(ALIKE, color="0.7", linewidth=1)
    panel.set(xlabel="distance (px, planes)", ylabel="correlation of noise in the dark", ylim=(-0.1, 1))
    panel.legend(fontsize=7)


def _draw_disagreement(panel: Any, errors: Sequence[float]) -> None:
    """Draw the mean absolute error in each decile of D; nothing for a single network."""
    if not errors:
        panel.axis("off")
        return
    panel.bar(range(1, len(errors) + 1), errors)
    panel.set(xlabel="decile of disagreement D", ylabel="mean absolute error (normalised)")


def _draw_example(panels: Sequence[Any], example: Applied) -> None:
    """Draw raw, restored, Laplace scale, disagreement and truth; a map that is not there stays empty."""
    maps = {
        f"raw {example.name}": example.raw,
        "restored": example.mean,
        "Laplace scale": example.laplace_scale,
        "disagreement": example.disagreement,
        "truth": example.truth,
    }
    for panel, (title, image) in zip(panels, maps.items(), strict=True):
        panel.axis("off")
        if image is None:
            continue
        flat = projected(image[0])
        low, high = np.percentile(flat, (1, 99.8))
        colours = "magma" if title in ("Laplace scale", "disagreement") else "gray"
        panel.imshow(flat, cmap=colours, vmin=low, vmax=max(high, low + 1e-6))
        panel.set_title(title, fontsize=7)


def projected(image: NDArray[Any]) -> NDArray[Any]:
    """Return the maximum over z of (z, y, x)."""
    return np.asarray(image.max(axis=0))


def _figure(*, size: tuple[float, float]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
