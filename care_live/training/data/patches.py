"""Patches: cut from examples around their foreground, flipped and turned, gathered into batches.

Every draw depends on its random generator alone, and the trainer makes one from (seed, update number), so a
resumed run sees exactly the patches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.training.data.examples import Data, Example, Patch
from care_live.training.recipe import PATCH_PX, Recipe

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Inputs (n, c_in, …) and targets (n, c_out, …)."""
_NEARLY_SQUARE = 0.75


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """How patches are drawn."""

    patch_px: tuple[int, ...]
    foreground: float
    """Share of the patches drawn around a foreground voxel."""
    turns: bool = True
    """Rotate by quarter turns in the plane; not where y and x differ, as for isotropic networks."""


def plan_for(recipe: Recipe, examples: Sequence[Example], *, turns: bool = False) -> PatchPlan:
    """Return how patches of a recipe are drawn from examples, which are checked; one without a size shrinks to them.

    Raises
    ------
    TrainingError
        There is no example, or one is smaller than a patch; names it.
    """
    patch_px = recipe.fit.patch_px or fitting_px(recipe, examples, turns=turns)
    plan = PatchPlan(patch_px, recipe.fit.foreground, turns=turns)
    check(examples, plan)
    return plan


def fitting_px(recipe: Recipe, examples: Sequence[Example], *, turns: bool) -> tuple[int, ...]:
    """Return the usual size of a patch, or less along an axis where an example is smaller.

    A patch that is nearly square becomes square where that lets it turn: on a few nuclei, 0.1 dB after 2 minutes.
    """
    usual = PATCH_PX[len(recipe.axes_seen)]
    steps = (*[1] * (len(usual) - len(recipe.network.divisor)), *recipe.network.divisor)
    least = [min(sizes) for sizes in zip(usual, *(example.shape_px for example in examples), strict=True)]
    sizes = [max(step, size // step * step) for size, step in zip(least, steps, strict=True)]
    if turns and steps[-1] == steps[-2] and _NEARLY_SQUARE * max(sizes[-2:]) <= min(sizes[-2:]):
        sizes[-2:] = [min(sizes[-2:])] * 2
    return tuple(sizes)


def check(examples: Sequence[Example], plan: PatchPlan) -> None:
    """Refuse patches that do not fit into every volume.

    Raises
    ------
    TrainingError
        There is no volume, or one is smaller than a patch; names it.
    """
    if not examples:
        raise TrainingError(
            "no training volume was found; correct the folder, or --pattern (in a config: data.pattern)"
        )
    for example in examples:
        if any(size < patch for size, patch in zip(example.shape_px, plan.patch_px, strict=True)):
            raise TrainingError(
                f"{example.name} is {example.shape_px} px, smaller than a patch of {plan.patch_px}: shrink fit.patch_px"
            )


def draw_batch(examples: Sequence[Example], plan: PatchPlan, *, n: int, rng: np.random.Generator) -> Batch:
    """Draw n augmented patches: inputs (n, c_in, …) and targets (n, c_out, …)."""
    drawn = [augment(_draw(examples[int(rng.integers(len(examples)))], plan, rng), plan, rng) for _ in range(n)]
    return np.stack([patch.input for patch in drawn]), np.stack([patch.target for patch in drawn])


def drawn_ahead(
    examples: Sequence[Example], plan: PatchPlan, *, n: int, seed: Sequence[int], updates: range
) -> Iterator[tuple[int, Batch]]:
    """Yield the number of each update and its batch of n patches; the next is drawn while the caller works."""

    def draw(update: int) -> Batch:
        return draw_batch(examples, plan, n=n, rng=np.random.default_rng([*seed, update]))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="patches") as drawer:
        waiting: Future[Batch] | None = None
        for update in updates:
            batch = (waiting or drawer.submit(draw, update)).result()
            waiting = drawer.submit(draw, update + 1)
            yield update, batch


def fixed_patches(examples: Sequence[Example], plan: PatchPlan, *, n: int, seed: int) -> Batch:
    """Return the same n patches for the same seed, with the usual percentiles: for validation."""
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(n):
        example = examples[number % len(examples)]
        drawn.append(example.cut(draw_corner(example, plan, rng), plan.patch_px, None))
    return np.stack([patch.input for patch in drawn]), np.stack([patch.target for patch in drawn])


def measured_patches(recipe: Recipe, data: Data, *, n: int) -> Batch | None:
    """Return training patches for a network that standardises images, or begins with another; else None."""
    if not (recipe.network.standardise or recipe.fit.start):
        return None
    return fixed_patches(data.training, plan_for(recipe, data.training), n=n, seed=recipe.seed)


def _draw(example: Example, plan: PatchPlan, rng: np.random.Generator) -> Patch:
    return example.cut(draw_corner(example, plan, rng), plan.patch_px, rng)


def draw_corner(example: Example, plan: PatchPlan, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a corner anywhere, or one whose patch holds a foreground voxel in its middle half."""
    room = np.asarray(example.shape_px) - plan.patch_px
    if len(example.foreground) == 0 or rng.random() >= plan.foreground:
        return tuple(int(rng.integers(most + 1)) for most in room)
    voxel = example.foreground[rng.integers(len(example.foreground))]
    offset = [int(rng.integers(size // 4, max(size // 4 + 1, size - size // 4))) for size in plan.patch_px]
    return tuple(int(step) for step in np.clip(voxel - offset, 0, room))


def augment(patch: Patch, plan: PatchPlan, rng: np.random.Generator) -> Patch:
    """Flip along any axis and turn by a quarter in the plane, input and target alike."""
    n_axes = len(plan.patch_px)
    flipped = [axis - n_axes for axis in range(n_axes) if rng.random() < 0.5]
    n_turns = int(rng.integers(4)) if plan.turns and plan.patch_px[-1] == plan.patch_px[-2] else 0
    return Patch(*(_turn(image, flipped, n_turns) for image in patch))


def _turn(image: NDArray[np.float32], flipped: Sequence[int], n_turns: int) -> NDArray[np.float32]:
    present = tuple(axis for axis in flipped if -axis < image.ndim)  # a projection's target has no z
    return np.ascontiguousarray(np.rot90(np.flip(image, present), n_turns, axes=(-2, -1)))
