"""Time-lapses to learn from: each frame with those before it, which become further channels of the network.

What stands in for a frame that is not there is said by `restore.past`. Time-lapses have few first frames, and gaps are
rare in good recordings, so in training some frames are left out by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from care_live.errors import TrainingError
from care_live.restore.past import by_rule

GAP_SHARE = 0.1
"""Of the patches, those in which an earlier frame, and maybe others, are left out."""


class Moment(NamedTuple):
    """A frame's place in its time-lapse."""

    series: str
    """Of the frames of one time-lapse and place."""
    t: int

    def part(self, name: str) -> Moment:
        """Return the moment of a part of a frame: a plane, or some rows."""
        return Moment(f"{self.series} {name}", self.t)


class InTimeLapse(Protocol):
    """An image, or an example, that may be a frame of a time-lapse."""

    @property
    def moment(self) -> Moment | None: ...


Frame = TypeVar("Frame", bound=InTimeLapse)


def before(one: InTimeLapse, n_past: int, by_moment: Mapping[Moment, Frame]) -> tuple[Frame | None, ...]:
    """Return the frames before one, the latest first; None where there is no such frame."""
    if one.moment is None:
        return (None,) * n_past
    series, t = one.moment
    return tuple(by_moment.get(Moment(series, t - back)) for back in range(1, n_past + 1))


def left_out(earlier: Sequence[Frame | None], rng: np.random.Generator | None) -> tuple[Frame | None, ...]:
    """Return earlier frames, mostly as they are, now and then without some, as at the beginning or after a gap."""
    if rng is None or not earlier or rng.random() >= GAP_SHARE:
        return tuple(earlier)
    kept = rng.random(len(earlier)) < 0.5
    return tuple(one if stays else None for one, stays in zip(earlier, kept, strict=True))


def with_earlier(now: NDArray[Any], earlier: Sequence[NDArray[Any] | None]) -> NDArray[Any]:
    """Return images (c, [z,] y, x) as channels of one, the present first, with what stands in for None."""
    if not earlier:
        return now
    return np.concatenate(by_rule((now,), [None if one is None else (one,) for one in earlier]))


@dataclass(frozen=True, slots=True)
class JoinedImages:
    """Images (c, [z,] y, x) of one size as channels of one; of those on disk only what is looked at is read."""

    images: Sequence[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        n_channels = sum(image.shape[0] for image in self.images)
        return (n_channels, *self.images[0].shape[1:])

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Any) -> NDArray[Any]:
        channels, *space = window if isinstance(window, tuple) else (window,)
        whole = np.concatenate([np.asarray(image[(slice(None), *space)]) for image in self.images])
        return whole[channels]


def joined(now: Any, earlier: Sequence[Any | None]) -> Any:
    """Return what a network reads of an image (c, [z,] y, x), as one image that is read when it is sliced."""
    if not earlier:
        return now
    return JoinedImages(by_rule((now,), [None if one is None else (one,) for one in earlier]))


class StoredFrame(InTimeLapse, Protocol):
    """An image on disk."""

    @property
    def image(self) -> Any: ...


Stored = TypeVar("Stored", bound=StoredFrame)


def with_past(found: Mapping[str, Stored], n_past: int) -> dict[str, Stored]:
    """Return images by name, each joined to those before it, where a network reads these."""
    if not n_past:
        return dict(found)
    by_moment = {one.moment: one for one in found.values() if one.moment is not None}
    return {
        name: replace(  # type: ignore[type-var]
            one, image=joined(one.image, [None if e is None else e.image for e in before(one, n_past, by_moment)])
        )
        for name, one in found.items()
    }


def refuse_stills(n_found: int) -> None:
    """Raise a TrainingError where no image has one before it."""
    if not n_found:
        raise TrainingError(
            "no image has an earlier time point, but the network shall read some: give time-lapses, and name their "
            "axes where the files do not (--axes TYX, TZYX; in a config: data.axes), or leave out --past (network.past)"
        )
