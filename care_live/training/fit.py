"""Fitting one network: draw patches, step, validate, keep the best and the last, go on where it stopped.

A run's whole state is its weights, the optimiser's moments and the history; learning rate and early stop
follow from the history, and the patches of an update from its number. So a resumed run gives the very
weights that an uninterrupted one gives.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.func import functional_call

from care_live.errors import TrainingError
from care_live.training import optim
from care_live.training.architecture import Standardised, build
from care_live.training.checkpoint import StateDict, TrainingHistory, TrainingState, load_state, save_state
from care_live.training.data import patches
from care_live.training.data.examples import Data, Patch
from care_live.training.data.patches import Batch
from care_live.training.data_parallel import ALONE, ProcessGroup
from care_live.training.loss import Loss, choose, choose_error
from care_live.training.optim import learning_rate, n_since_best
from care_live.training.preview import Progress
from care_live.training.recipe import FitRecipe, Recipe
from care_live.training.start import begin, keep_kernels, open_start

logger = logging.getLogger(__name__)

SHOW_EVERY_S = 0.5
N_SEEN = 64
"""Training patches that the spread of the images is measured on, for a network that standardises them."""
ROWS_ALONE = 20_480
"""Channels · planes · lines up to which torch convolves a volume that is alone in its batch without oneDNN on a CPU,
several times slower."""
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of dimensions, of images as of convolution kernels."""


def fit(
    recipe: Recipe,
    data: Data,
    run: Path,
    *,
    member: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    group: ProcessGroup = ALONE,
) -> TrainingHistory:
    """Fit one member of a recipe; resumes from ``run/member-K/last.pt`` when that exists.

    Parameters
    ----------
    data : training and validation volumes, split by volume
    run : folder of the training run
    group : of the processes that fit it together

    Returns
    -------
    TrainingHistory
        Losses and rates; the weights are in ``best.pt`` and ``last.pt``.

    Raises
    ------
    TrainingError
        A volume is smaller than a patch, the loss is no longer finite, or the checkpoint is of another recipe.
    """
    plan = patches.plan_for(recipe, data.training, turns=data.turns)
    judging = patches.plan_for(recipe, data.validation)
    seen = patches.measured_patches(recipe, data, n=N_SEEN)
    fitter = Fitter(recipe, member=member, folder=run / f"member-{member}", seen=seen, group=group)
    n, seed = recipe.fit.n_validation_patches, recipe.seed
    held_out = patches.fixed_patches(data.validation, judging, n=n, seed=seed)
    judged = patches.fixed_patches(data.judged, judging, n=n, seed=seed) if data.judged else None
    fitter.weigh_best(held_out, judged)
    begun = shown = time.monotonic()
    first, losses = fitter.state.update, list[float]()
    for update, batch in patches.drawn_ahead(
        data.training, plan, n=recipe.fit.batch, seed=fitter.seed, updates=range(first + 1, recipe.fit.n_updates + 1)
    ):
        losses.append(fitter.step(batch, update))
        is_last = update == recipe.fit.n_updates
        due = is_last or update % recipe.fit.validation_interval == 0
        if due:
            fitter.validate(held_out, float(np.mean(losses)), judged=judged)
        if on_progress and (due or time.monotonic() - shown > SHOW_EVERY_S):
            shown = time.monotonic()
            pace_s = (shown - begun) / (update - first)
            on_progress(fitter.progress(float(np.mean(losses)), held_out if due else None, pace_s=pace_s))
        if due:
            losses.clear()
            if recipe.fit.stop_after and n_since_best(fitter.state.history) >= recipe.fit.stop_after:
                break
    return fitter.state.history


class Fitter:
    """One network, its optimiser and its history.

    Parameters
    ----------
    folder : of the member, for checkpoints; None: it keeps none
    seen : training patches that a network which standardises images takes their spread from
    group : of the processes that fit it together
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        member: int,
        folder: Path | None = None,
        seen: Batch | None = None,
        group: ProcessGroup = ALONE,
    ) -> None:
        self.recipe, self.folder, self.member, self.group = recipe, folder, member, group
        self.device = choose_device(recipe.fit)
        torch.set_num_threads(recipe.fit.threads or torch.get_num_threads())
        torch.manual_seed(member_seed(recipe, member))
        self.network = build(recipe.network)
        if isinstance(self.network, Standardised) and seen is not None:
            self.network.measure(*map(torch.from_numpy, seen))
        if recipe.fit.start is not None and seen is not None and not self._is_resumed:
            begin(self.network, open_start(recipe.fit.start), member=member, seen=torch.from_numpy(seen[0]))
        if recipe.fit.learn == "gains":
            keep_kernels(self.network)
        self.network.to(self.device)
        for parameter in self.network.parameters():
            parameter.data = self._lay_out(parameter.data)
        self.optimiser = optim.choose(recipe.fit.optimiser, self.network, learning_rate=recipe.fit.learning_rate)
        self.loss = choose(recipe.fit.loss, beta=recipe.fit.beta)
        self.likelihood = choose(recipe.fit.loss)
        self.state = self._resume() or TrainingState.fresh(self.network)
        self._forward = group.together(self.network)
        self.restored: NDArray[np.float32] | None = None
        """What the last validation made of the first held-out patch, (c_out, [z,] y, x)."""

    @property
    def seed(self) -> tuple[int, ...]:
        """Of the patches: those of a member, and of a process."""
        own = member_seed(self.recipe, self.member)
        return (own,) if self.group.is_first else (own, self.group.rank)

    @property
    def _is_resumed(self) -> bool:
        return self.folder is not None and (self.folder / "last.pt").exists()

    def _resume(self) -> TrainingState | None:
        if self.folder is None or not self._is_resumed:
            return None
        state, moments = load_state(self.folder / "last.pt", self.recipe, self.device)
        self.network.load_state_dict(state.weights)
        self.optimiser.load_state_dict(moments)
        return state

    def weigh_best(self, held_out: Batch, judged: Batch | None) -> None:
        """Measure the error of ``best.pt`` where a run of an older version goes on, which kept none; see `validate`."""
        best = None if self.folder is None else self.folder / "best.pt"
        if best is None or not best.exists() or not self.state.update or math.isfinite(self.state.least_error):
            return
        weights = load_state(best, self.recipe, self.device)[0].averaged
        self.state.least_error = self.group.shared(self._validated(held_out, judged, weights))[1]

    def step(self, batch: Batch, update: int) -> float:
        """Do one update; returns the loss, which must be finite."""
        fit = self.recipe.fit
        inputs, targets = self._place(self._accompanied(batch))
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(fit, update, self.state.history)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            mean, scale = self._forward(inputs)
        value = self.loss(mean.float(), None if scale is None else scale.float(), targets)
        value.backward()
        if fit.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), fit.clip_norm)
        self.optimiser.step()
        self.state.follow(self.network, update, decay=fit.average)
        loss = float(value.item())
        if not np.isfinite(loss):
            raise TrainingError(f"the loss became {loss} at update {update}: lower fit.learning_rate")
        return loss

    def validate(self, held_out: Batch, loss: float, *, judged: Batch | None = None) -> None:
        """Measure loss and error of the validation, note them, and write last.pt and, if it is the best, best.pt.

        Parameters
        ----------
        judged : what the best weights are chosen by, where that is not ``held_out``: images without hidden pixels
        """
        validation, error = self.group.shared(self._validated(held_out, judged, self.state.averaged))
        rate = self.optimiser.param_groups[0]["lr"]
        is_best = self.state.note(loss=loss, validation=validation, error=error, rate=rate)
        assert self.folder is not None
        kept = ("best.pt", "last.pt") if is_best else ("last.pt",)
        for name in kept if self.group.is_first else ():
            save_state(self.folder / name, self.state, self.optimiser.state_dict(), self.recipe)
        logger.debug("validated member=%d update=%d loss=%.5f validation=%.5f", *self._report(loss, validation))

    def progress(self, loss: float, held_out: Batch | None, *, pace_s: float) -> Progress:
        """Return how far it is; after a validation on ``held_out``, with its loss and its first patch."""
        n_updates = self.recipe.fit.n_updates
        common = {
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "left_s": (n_updates - self.state.update) * pace_s,
        }
        if held_out is None:
            return Progress(self.member, self.state.update, n_updates, loss, None, **common)
        validation, shown = self.state.history.validation[-1], Patch(held_out[0][0], held_out[1][0])
        return Progress(
            self.member, self.state.update, n_updates, loss, validation, **common, shown=shown, restored=self.restored
        )

    def _report(self, loss: float, validation: float) -> tuple[int, int, float, float]:
        return self.member, self.state.update, loss, validation

    def _validated(self, held_out: Batch, judged: Batch | None, weights: StateDict) -> tuple[float, float]:
        """Return the mean loss, and the error that the best weights are chosen by.

        The verdict is by PSNR of whole images. The likelihood of a Laplace scale is best at other weights, and so is
        what a network guesses of hidden pixels: it learns to see which are hidden, and leaves the noise in all others.
        """
        by_images = None if judged is None else self._measured(judged, weights, choose_error("mse"))[0]
        loss, error = self._measured(held_out, weights, self.likelihood, choose_error(self.recipe.fit.loss))
        return loss, error if by_images is None else by_images

    def _measured(self, batch: Batch, weights: StateDict, *losses: Loss) -> list[float]:
        """Return the means of some losses over patches by some weights; keeps the first patch as restored."""
        self.network.eval()
        values = []
        for start in range(0, len(batch[0]), self.recipe.fit.batch):
            part = slice(start, start + self.recipe.fit.batch)
            inputs, targets = self._place((batch[0][part], batch[1][part]))
            with torch.no_grad():
                mean, scale = functional_call(self.network, weights, inputs)
            values.append([loss(mean, scale, targets).item() * len(targets) for loss in losses])
            if start == 0:
                self.restored = mean[0].cpu().numpy()
        return [float(total) / len(batch[0]) for total in np.sum(values, axis=0)]

    def _accompanied(self, batch: Batch) -> Batch:
        """Take a small volume that is alone twice: a mean over both is the same update, and a CPU is faster at it."""
        n, _, *shape_px = batch[0].shape
        is_slow = len(shape_px) == 3 and self.recipe.network.filters * shape_px[0] * shape_px[1] <= ROWS_ALONE
        if n > 1 or not is_slow or self.device.type != "cpu" or computes_mixed(self.recipe.fit, self.device):
            return batch
        return batch[0].repeat(2, axis=0), batch[1].repeat(2, axis=0)

    def _place(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = (torch.from_numpy(image).to(self.device, non_blocking=True) for image in batch)
        return self._lay_out(inputs), self._lay_out(targets)

    def _lay_out(self, values: torch.Tensor) -> torch.Tensor:
        """Store the channels of a voxel side by side where that is faster: a CPU convolves so without reordering."""
        last = CHANNELS_LAST.get(values.ndim) if self.device.type == "cpu" else None
        return values if last is None else values.contiguous(memory_format=last)

    def _precision(self) -> AbstractContextManager[object]:
        if computes_mixed(self.recipe.fit, self.device):
            autocast: AbstractContextManager[object] = torch.autocast(self.device.type, dtype=torch.bfloat16)
            return autocast
        return nullcontext()


def computes_mixed(fit: FitRecipe, device: torch.device) -> bool:
    """Return whether convolutions are computed in bfloat16; on a CPU, mostly slower so, only if the recipe names it."""
    return fit.precision == "mixed" and (device.type == "cuda" or fit.device == "cpu")


def choose_device(fit: FitRecipe) -> torch.device:
    """Return the device to train on.

    Raises
    ------
    TrainingError
        The recipe wants CUDA and there is none, or mixed precision on a cuDNN that convolves wrongly in 3D.
    """
    if fit.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("fit.device is cuda, but torch sees no CUDA device: use auto or cpu")
    device = torch.device("cuda" if fit.device != "cpu" and torch.cuda.is_available() else "cpu")
    version = torch.backends.cudnn.version() if device.type == "cuda" else None
    if version is not None and fit.precision == "mixed" and 90800 <= version < 91600:
        raise TrainingError(f"cuDNN {version} computes 3D convolutions wrongly in bfloat16: update it to 9.16 or later")
    return device


def member_seed(recipe: Recipe, member: int) -> int:
    """Return the seed of one member; members differ in their weights and in their patches."""
    return recipe.seed * 1000 + member
