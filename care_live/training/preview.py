"""What a network makes of validation images: a picture and curves while it is trained, whole middles for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from care_live.training.data.examples import Example, Patch
from care_live.training.ensemble import Ensemble
from care_live.training.evaluation.inference import Applied

PREVIEW_FILE = "preview.png"
MOST_VOLUMES = 4
MOST_PX = {"Z": 16, "Y": 192, "X": 192}
"""Of a volume, its middle is judged; every patch is at least as large as one for training."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress bar shows."""

    member: int
    update: int
    n_updates: int
    loss: float
    """Mean over the updates since the last report."""
    validation_loss: float | None
    learning_rate: float
    left_s: float
    """Seconds that this member still takes, at its pace so far."""
    shown: Patch | None = None
    """Of a fresh validation: one patch, as input, and its target."""
    restored: NDArray[np.float32] | None = None
    """What the network makes of that patch, (c_out, [z,] y, x)."""


class Watched:
    """Shows each validation of one member, and passes every progress on.

    Parameters
    ----------
    folder : of the member
    on_progress : what else wants to know
    tensorboard : write curves and pictures for it, too; it must be installed beside the [train] extra
    """

    def __init__(self, folder: Path, on_progress: Callable[[Progress], None] | None, *, tensorboard: bool) -> None:
        self._folder, self._on_progress = folder, on_progress
        self._board = _open_board(folder / "tensorboard") if tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board is not None:
            self._board.close()

    def show(self, progress: Progress) -> None:
        """Take a progress; draws and writes where it comes with a validation."""
        if progress.shown is not None and progress.restored is not None:
            target = progress.shown.target
            row = side_by_side(
                progress.shown.input, progress.restored, *([target] if np.isfinite(target).all() else [])
            )
            _save(self._folder / PREVIEW_FILE, row)
            if self._board is not None:
                self._write(self._board, progress, row)
        if self._on_progress is not None:
            self._on_progress(progress)

    @staticmethod
    def _write(board: Any, progress: Progress, row: NDArray[np.float32]) -> None:
        board.add_scalar("loss", progress.loss, progress.update)
        board.add_scalar("validation_loss", progress.validation_loss, progress.update)
        board.add_scalar("learning_rate", progress.learning_rate, progress.update)
        board.add_image("input, restored, target", row[None], progress.update)
        board.flush()


def side_by_side(*images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the brightest planes of the first channels, (c, [z,] y, x) each, in one row, 0 to 1 by the last one."""
    flat = [image[0].max(axis=0) if image.ndim == 4 else image[0] for image in images]
    low, high = np.percentile(flat[-1], (1, 99.8))
    row = np.concatenate(flat, axis=1)
    return np.asarray(np.clip((row - low) / max(float(high - low), 1e-6), 0, 1), np.float32)


def _save(path: Path, row: NDArray[np.float32]) -> None:
    from matplotlib import image

    path.parent.mkdir(parents=True, exist_ok=True)
    image.imsave(path, row, cmap="gray", vmin=0, vmax=1)


def _open_board(folder: Path) -> Any:
    from care_live.imports import need

    need("tensorboard", extra="train")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def judge(
    members: Sequence[nn.Module], examples: Sequence[Example], *, divisor: Sequence[int], n_channels: int = 0
) -> list[Applied]:
    """Restore the middle of a few volumes, evenly taken, with all members together.

    Parameters
    ----------
    members : trained networks in evaluation mode
    examples : volumes that the members have not learnt from
    divisor : what sizes must be multiples of, one per axis of the examples or of their last axes
    n_channels : of one time point; 0: the inputs have no others
    """
    ensemble = Ensemble(list(members)).eval()
    chosen = examples[:: max(1, -(-len(examples) // MOST_VOLUMES))]
    return [_judged(ensemble, example, divisor, n_channels) for example in chosen]


def _judged(ensemble: Ensemble, example: Example, divisor: Sequence[int], n_channels: int) -> Applied:
    size_px = middle_px(example.shape_px, divisor)
    corner = [(whole - part) // 2 for whole, part in zip(example.shape_px, size_px, strict=True)]
    patch = example.cut(corner, size_px, None)
    with torch.no_grad():
        mean, scale, disagreement = ensemble(torch.from_numpy(np.ascontiguousarray(patch.input))[None])
    return Applied(
        condition="validation",
        name=example.name,
        raw=_with_z(patch.input[: n_channels or None]),
        mean=_with_z(mean[0].numpy()),
        laplace_scale=None if scale is None else _with_z(scale[0].numpy()),
        disagreement=None if disagreement is None else _with_z(disagreement[0].numpy()),
        truth=_with_z(patch.target),
    )


def middle_px(shape_px: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """Return how much of a volume is judged: at most `MOST_PX`, a multiple of the divisor along every axis."""
    steps = (*[1] * (len(shape_px) - len(divisor)), *divisor)
    most = list(MOST_PX.values())[-len(shape_px) :]
    return tuple(
        min(size, max(limit, step)) // step * step for size, limit, step in zip(shape_px, most, steps, strict=True)
    )


def _with_z(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give (c, y, x) a z axis of one plane."""
    return image if image.ndim == 4 else image[:, None]
