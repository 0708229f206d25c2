"""Examples: volumes of which the input and the target are known, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.model.card import TargetUnit
from care_live.training.data import intensity
from care_live.training.data.image_parts import plane_in, rows_in
from care_live.training.data.intensity import BrightnessLine, SpanTable, thin
from care_live.training.data.past_frames import Moment, left_out, with_earlier
from care_live.trust.measured_noise import NoiseCorrelation, without_shared_pattern

FOREGROUND_SHARE = 0.4
"""Foreground is brighter than this share of the target's 99.9th percentile, as in CSBDeep."""
_ENOUGH_POSITIONS = 50_000


class Patch(NamedTuple):
    """A piece of an example, normalised."""

    input: NDArray[np.float32]
    """(c_in, [z,] y, x)."""
    target: NDArray[np.float32]
    """(c_out, [z,] y, x)."""


class Example(Protocol):
    """One volume to learn from; the split into training and validation is by these, never by patch."""

    @property
    def name(self) -> str: ...

    @property
    def shape_px(self) -> tuple[int, ...]:
        """Of the input, one per axis."""
        ...

    @property
    def foreground(self) -> NDArray[np.int64]:
        """(n, axes) voxels where the target is bright; patches are drawn around them."""
        ...

    @property
    def images(self) -> Sequence[Any]:
        """What inputs are cut from, arrays of (c_in, [z,] y, x); () where they are made for every patch."""
        ...

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        """Return the patch at a corner; without an rng, the first condition with the usual percentiles."""
        ...


class Filed(Example, Protocol):
    """An example that comes from a file."""

    @property
    def file(self) -> str: ...


@dataclass(frozen=True, slots=True, eq=False)
class PairedVolume:
    """A volume that was recorded, or degraded, under one or more conditions; one target for all."""

    name: str
    file: str
    """Name of the file it comes from: training and validation are split by files where there are several."""
    inputs: Sequence[Any]
    """Arrays of (c_in, [z,] y, x), one a condition; anything that slices like numpy, so Zarr too."""
    target: Any
    """(c_out, [z,] y, x)."""
    input_spans: Sequence[SpanTable]
    target_span: SpanTable
    foreground: NDArray[np.int64]
    lines: Sequence[BrightnessLine | None] = ()
    """How bright each condition is, where that is known; the target is then in the counts of the input."""
    fresh: Sequence[Sequence[Any]] = ()
    """Further exposures of each condition, made in the computer: to learn from, and for nothing else."""
    moment: Moment | None = None
    """Of a frame of a time-lapse."""
    earlier: Sequence[Self | None] = ()
    """The frames before it that the network reads, the latest first; None where one is not there."""

    @property
    def shape_px(self) -> tuple[int, ...]:
        return tuple(self.inputs[0].shape[1:])

    @property
    def images(self) -> Sequence[Any]:
        return self.inputs

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        condition = 0 if rng is None else int(rng.integers(len(self.inputs)))
        percentiles = intensity.USUAL if rng is None else intensity.draw_percentiles(rng)
        line, span = self.lines[condition] if self.lines else None, self.input_spans[condition]
        target_span = self.target_span if line is None else line.brightened(span)
        window = tuple(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True))
        shown = np.asarray(self._exposure(condition, rng)[(slice(None), *window)])
        before = [
            None if one is None else np.asarray(one._exposure(condition, rng)[(slice(None), *window)])
            for one in left_out(self.earlier, rng)
        ]
        wanted = np.asarray(self.target[(slice(None), *window[len(window) - self.target.ndim + 1 :])])
        return Patch(
            _normalised(shown, before, span.at(*percentiles)),
            intensity.normalise(wanted, target_span.at(*percentiles)),
        )

    def _exposure(self, condition: int, rng: np.random.Generator | None) -> Any:
        fresh = self.fresh[condition] if self.fresh and rng is not None else ()
        number = int(rng.integers(1 + len(fresh))) if fresh and rng is not None else 0
        return fresh[number - 1] if number else self.inputs[condition]


def paired(
    name: str,
    inputs: Sequence[Any],
    target: Any,
    *,
    file: str = "",
    lines: Sequence[BrightnessLine | None] = (),
    moment: Moment | None = None,
) -> PairedVolume:
    """Measure the spans and the foreground of images (c, [z,] y, x) and keep them together."""
    return PairedVolume(
        name=name,
        file=file or name,
        inputs=inputs,
        target=target,
        input_spans=[SpanTable.measure(thin(image)[0]) for image in inputs],
        target_span=SpanTable.measure(thin(target)[0]),
        foreground=find_foreground(target, n_axes=inputs[0].ndim - 1),
        lines=lines,
        moment=moment,
    )


def _normalised(
    shown: NDArray[Any], before: Sequence[NDArray[Any] | None], span: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return a patch and those of earlier frames, all in the range of the present one, as channels."""
    return intensity.normalise(with_earlier(shown, before), intensity.repeated(span, 1 + len(before)))


def part_of(moment: Moment | None, name: str) -> Moment | None:
    """Return the moment of a part of an image."""
    return None if moment is None else moment.part(name)


def planes_of(volume: PairedVolume) -> list[PairedVolume]:
    """Return every plane of a volume as an example for a 2D network; the spans stay those of the volume."""
    planes = []
    for z in range(volume.shape_px[0]):
        inputs, target = [plane_in(image, z) for image in volume.inputs], plane_in(volume.target, z)
        here = volume.foreground[volume.foreground[:, 0] == z, 1:]
        plane = replace(volume, name=f"{volume.name} z={z}", inputs=inputs, target=target, foreground=here)
        planes.append(replace(plane, moment=part_of(volume.moment, f"z={z}")))
    return planes


def rows_of(volume: PairedVolume, rows: slice, name: str) -> PairedVolume:
    """Return a part of a volume, rows of y, as a volume of its own; the spans stay those of the whole."""
    *inputs, target = (rows_in(image, rows) for image in (*volume.inputs, volume.target))
    y = volume.foreground[:, -2]
    here = volume.foreground[(y >= rows.start) & (y < rows.stop)]
    shift = np.zeros(here.shape[1], here.dtype)
    shift[-2] = rows.start
    moment = part_of(volume.moment, f"y={rows.start}")
    return replace(volume, name=name, inputs=inputs, target=target, foreground=here - shift, moment=moment)


@dataclass(frozen=True, slots=True, eq=False)
class RepeatedVolume:
    """A volume that was exposed several times: each patch maps one exposure to another.

    The mean of many noisy targets is the clean one, so the squared error, and no other, learns the clean image. The
    camera's pattern is in both, and would be kept: one as strong is added to the input and taken from the target.

    References
    ----------
    Lehtinen et al., "Noise2Noise: learning image restoration without clean data", ICML 2018; Pang et al.,
    "Recorrupted-to-Recorrupted", CVPR 2021, here of the pattern alone.
    """

    name: str
    file: str
    images: Sequence[Any]
    """Arrays of (c, [z,] y, x), one an exposure."""
    spans: Sequence[SpanTable]
    foreground: NDArray[np.int64]
    pattern_sd: tuple[float, ...] = ()
    """Counts, of the camera's pattern, one a channel; () for no pattern."""
    is_exchanged: bool = False
    """Whether the two exposures of every pixel change places by chance, so that a network hardly sees the same noise
    twice: where each pixel's noise is its own, and both are equally bright."""
    moment: Moment | None = None
    """Of a frame of a time-lapse."""
    earlier: Sequence[Self | None] = ()
    """The frames before it that the network reads, the latest first; None where one is not there. Of each any exposure
    is shown."""

    @property
    def shape_px(self) -> tuple[int, ...]:
        return tuple(self.images[0].shape[1:])

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        first, second = (0, 1) if rng is None else rng.permutation(len(self.images))[:2]
        percentiles = intensity.USUAL if rng is None else intensity.draw_percentiles(rng)
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        span = self.spans[first].at(*percentiles)  # one range for both: they differ by noise alone
        shown, other = (np.asarray(self.images[number][window], np.float32) for number in (first, second))
        if self.is_exchanged and rng is not None:
            is_first = rng.random(shown.shape, np.float32) < 0.5
            shown, other = np.where(is_first, shown, other), np.where(is_first, other, shown)
        before = [None if one is None else one._any_exposure(window, rng) for one in left_out(self.earlier, rng)]
        if any(self.pattern_sd):
            drawn = np.random.default_rng(list(corner)) if rng is None else rng
            seen = shown
            shown, other = without_shared_pattern(shown, other, self.pattern_sd, drawn)
            before = [None if one is None else one + (shown - seen) for one in before]  # the camera's is in all
        return Patch(_normalised(shown, before, span), intensity.normalise(other, span))

    def _any_exposure(self, window: tuple[slice, ...], rng: np.random.Generator | None) -> NDArray[np.float32]:
        number = 0 if rng is None else int(rng.integers(len(self.images)))
        return np.asarray(self.images[number][window], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ExposedVolume:
    """What a specimen truly sends out; every patch of it is exposed anew, with fresh noise and dose."""

    name: str
    truth: NDArray[np.float32]
    """(1, [z,] y, x) expected photo-electrons at laser power 1, blurred by the microscope or not."""
    wanted: NDArray[np.float32]
    """The same before blur, for deconvolution; or `truth` itself."""
    expose: Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.uint16]]
    """Electrons → camera counts with photon and camera noise."""
    to_counts: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Electrons → the counts that a noise-free camera would give."""
    doses: tuple[float, ...]
    dose_spans: tuple[SpanTable, ...]
    """Percentiles of the whole noisy volume, one table a dose."""
    foreground: NDArray[np.int64] = field(repr=False)

    @property
    def shape_px(self) -> tuple[int, ...]:
        return self.truth.shape[1:]

    @property
    def images(self) -> Sequence[Any]:
        return [_Exposure(self, dose) for dose in self.doses]

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        number = len(self.doses) // 2 if rng is None else int(rng.integers(len(self.doses)))
        percentiles = intensity.USUAL if rng is None else intensity.draw_percentiles(rng)
        noise = np.random.default_rng(list(corner)) if rng is None else rng
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        span = self.dose_spans[number].at(*percentiles)
        dose = np.float32(self.doses[number])
        counts = self.expose(self.truth[window] * dose, noise)
        return Patch(
            intensity.normalise(counts, span),
            intensity.normalise(self.to_counts(self.wanted[window] * dose), span),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Exposure:
    """A specimen by one dose, exposed where it is looked at."""

    volume: ExposedVolume
    dose: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.volume.truth.shape

    def __getitem__(self, window: tuple[slice, ...]) -> NDArray[np.uint16]:
        return self.volume.expose(self.volume.truth[window] * np.float32(self.dose), np.random.default_rng(0))


def find_foreground(target: Any, *, n_axes: int, smooth_px: float = 0.0) -> NDArray[np.int64]:
    """Return up to 50,000 bright voxels of a target (c, [z,] y, x), evenly taken, as (n, n_axes).

    A target with fewer axes than the input (a projection) gives voxels with 0 for the axes it lacks.

    Parameters
    ----------
    smooth_px : deviation of a Gaussian along y and x: the brightest noise is no foreground
    """
    sample, steps = thin(target)
    if smooth_px:
        widths = (*[0.0] * (sample.ndim - 2), smooth_px / steps[-2], smooth_px / steps[-1])
        sample = ndimage.gaussian_filter(np.asarray(sample, np.float32), widths)
    bright = sample.max(axis=0)
    found = np.argwhere(bright > FOREGROUND_SHARE * np.percentile(bright, 99.9)) * steps[1:]
    found = found[:: max(1, len(found) // _ENOUGH_POSITIONS)]
    return np.pad(found, ((0, 0), (n_axes - found.shape[1], 0)))


@dataclass(frozen=True, slots=True)
class Data:
    """Volumes of a training run; none is on both sides."""

    training: Sequence[Example]
    validation: Sequence[Example]
    turns: bool = True
    """Whether y and x are alike, so that patches may be turned by a quarter."""
    second_noise: float = 0.0
    """Of the mean squared difference of an input and its target the share that is noise of the target; 0: targets are
    clean. Scores are then estimates from two noisy images."""
    target_unit: TargetUnit = "percentiles"
    """Whether all targets are in the counts of their inputs."""
    judged: Sequence[Example] | None = None
    """What the networks are judged by; None: the validation volumes."""
    noise: NoiseCorrelation | None = None
    """Of the images, where there is no clean one."""

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
