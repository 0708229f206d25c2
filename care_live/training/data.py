"""Volumes of a training run, split into those to learn from and those to be judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from care_live.training.examples import Example


@dataclass(frozen=True, slots=True)
class Data:
    """Volumes of a training run; none is on both sides."""

    training: Sequence[Example]
    validation: Sequence[Example]
    turns: bool = True
    """Whether y and x are alike, so that patches may be turned by a quarter."""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """One SHA-256 a volume, of its name, shape and a thin sample of its voxels: what the card keeps."""
        return tuple(_fingerprint(example) for example in (*self.training, *self.validation))


Tell = Callable[[str], None]
"""Called with the name of each volume as it is read or simulated."""


def _fingerprint(example: Example) -> str:
    corner = [size // 2 - min(size, 8) // 2 for size in example.shape_px]
    patch = example.cut(corner, [min(size, 8) for size in example.shape_px], None)
    digest = hashlib.sha256(f"{example.name} {example.shape_px}".encode())
    digest.update(patch.target.tobytes())
    return digest.hexdigest()
