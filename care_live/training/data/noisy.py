"""Training without a clean image: by two exposures or more of the same planes, or by noisy images and nothing else.

Two exposures are matched and checked as pairs are (Noise2Noise). Of noisy images alone a network learns in one of two
ways. Where the noise can be measured, and each pixel's is its own, each patch y becomes two with independent noise,
y + a·n and y - n/a, for n as noisy as y. The mean over many draws of the second is the clean image, whatever the first
is, so a network that maps one to the other learns the clean image, as it does from two exposures: by every pixel, where
hidden ones are few. The camera's pattern is noise, too, but the same in all planes. So n has a pattern of its own,
which is the same in all planes of a patch: what the pattern of y has in common in both images, that of n takes away.

Else pixels are hidden from the network, which predicts them from those around them (Noise2Void): some are replaced by
the median of their neighbours, and only there is the error counted. Noise that is alike in neighbours would give itself
away, so where the measured noise is correlated along an axis, the pixels along it are hidden, too.

References
----------
Lehtinen et al., "Noise2Noise", ICML 2018; Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021; Krull et al.,
"Noise2Void", CVPR 2019; Broaddus et al., "Removing structured noise", ISBI 2020; Höck et al., "N2V2", 2022, for the
median.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.training.data import intensity, volumes
from care_live.training.data.data_recipe import ExposuresData, NoisyData, PairsData
from care_live.training.data.examples import (
    Data,
    Example,
    PairedVolume,
    Patch,
    RepeatedVolume,
    Tell,
    find_foreground,
    part_of,
)
from care_live.training.data.image_parts import plane_in, rows_in
from care_live.training.data.intensity import SpanTable, thin
from care_live.training.data.pairs import gather_pairs, split, split_point
from care_live.training.data.past_frames import Moment, left_out, with_earlier
from care_live.training.recipe import Recipe
from care_live.trust.camera import CameraModel
from care_live.trust.measured_noise import (
    FARTHEST_PX,
    are_equally_bright,
    camera_of_images,
    correlation_of,
    correlation_of_repeats,
    pattern_like,
    pattern_sd_of,
)

_FOREGROUND_PX = 2.0
"""Foreground of a noisy image is looked for in a smooth one."""
_N_PLANES, _N_FILES = 16, 8
"""Of a file: enough to measure the pattern of its camera."""
HIDDEN_SHARE = 0.08
"""Of the pixels of a patch, those included that are hidden along structured noise. On planes of a mouse brain, 60 times
dimmer, it is 0.1 dB better than 0.02 after as many updates."""
RECORRUPTION = 0.5
"""a: of the noise, what is added to the image that is restored."""
SHARE_OF_SECOND = 1 / (1 + RECORRUPTION**2)
"""Of the mean squared difference of both images that is noise of the second."""
_EXPECTED_PX = 1.0
"""Along y and x: the noise of a count must not follow from the chance of that very count."""


def gather_noisy(data: NoisyData, recipe: Recipe, tell: Tell) -> Data:
    """Read noisy images, measure their noise, and split them.

    Raises
    ------
    TrainingError
        A file is missing, broken, constant or not finite; names it.
    """
    examples: list[NoisyVolume] = []
    for name, stored in volumes.find_in(data.images, data.pattern, data.axes).items():
        tell(name)
        image = volumes.read(stored, n_channels=recipe.network.n_channels_in)
        example = replace(_example(name, stored.file, image), moment=stored.moment)
        examples += _parts(example, planes=recipe.network.axes == "YX")
    images = [one.image for one in examples]
    noise = correlation_of(_movies(examples) if recipe.network.past else images)
    camera = camera_of_images(images) if noise.is_white else None
    examples = [replace(one, structure_px=noise.reach_px, is_fixed=noise.is_fixed) for one in examples]
    training, validation = _split(examples, data.validation)
    judged = [] if camera is None else [RecorruptedVolume(one, camera) for one in validation]
    gathered = Data(
        training, validation, second_noise=SHARE_OF_SECOND, target_unit="counts", judged=judged, noise=noise
    )
    is_flat = recipe.network.axes == "YX"
    if camera is None or (is_flat if data.hide_pixels is None else data.hide_pixels):
        return gathered
    learnt = [RecorruptedVolume(one, camera) for one in training]
    return replace(gathered, training=learnt, validation=judged, judged=None)


def gather_exposures(data: ExposuresData, recipe: Recipe, tell: Tell) -> Data:
    """Match the files of every exposure by name, and check each against the last one.

    Raises
    ------
    TrainingError
        A file has no partner, another shape, too many channels, NaN, one value only, or is shifted; names it.
    """
    *firsts, last = data.exposures
    pairs = PairsData(inputs=tuple(firsts), target=(last,), **data.model_dump(exclude={"kind", "exposures"}))
    gathered = gather_pairs(pairs, recipe, tell)
    parts = [[_repeated(one) for one in part] for part in (gathered.training, gathered.validation)]
    every = [one for part in parts for one in part]
    repeats = [one.images for one in every]
    noise, pattern_sd = correlation_of_repeats(repeats), pattern_sd_of(_stacks(every))
    is_exchanged = noise.is_white and are_equally_bright(repeats)
    training, validation = (
        [replace(one, pattern_sd=pattern_sd, is_exchanged=is_exchanged) for one in part] for part in parts
    )
    return Data(training, validation, turns=gathered.turns, second_noise=0.5, target_unit="counts", noise=noise)


def _repeated(volume: Example) -> RepeatedVolume:
    assert isinstance(volume, PairedVolume)
    return RepeatedVolume(
        name=volume.name,
        file=volume.file,
        images=[*volume.inputs, volume.target],
        spans=[*volume.input_spans, volume.target_span],
        foreground=find_foreground(volume.inputs[0], n_axes=volume.inputs[0].ndim - 1, smooth_px=_FOREGROUND_PX),
        moment=volume.moment,
    )


def _stacks(volumes: Sequence[RepeatedVolume]) -> list[Any]:
    """Return an exposure of each volume (c, z, y, x); some planes of one file, which one camera took, are one."""
    stacks = [one.images[0] for one in volumes if len(one.shape_px) > 2]
    planes: dict[tuple[str, tuple[int, ...]], list[Any]] = defaultdict(list)
    for one in volumes:
        if len(one.shape_px) == 2:
            planes[one.file, one.shape_px].append(one.images[0])
    several = [alike for alike in planes.values() if len(alike) > 1]
    chosen = several[:: max(1, -(-len(several) // _N_FILES))]
    some = [alike[:: -(-len(alike) // _N_PLANES)] for alike in chosen]  # each plane of these is read
    return stacks + [np.stack([np.asarray(plane[:]) for plane in alike], axis=1) for alike in some]


def _split(examples: list[NoisyVolume], kept: Sequence[str]) -> tuple[list[NoisyVolume], list[NoisyVolume]]:
    """Return what is learnt from, and what is for validation."""
    if len(examples) == 1 and not kept:
        (whole,) = examples
        first = split_point(whole.shape_px[-2])
        return [_rows(whole, 0, first)], [_rows(whole, first, whole.shape_px[-2])]
    gathered = split(examples, kept)
    training, validation = ([_noisy(one) for one in part] for part in (gathered.training, gathered.validation))
    return training, validation


def _noisy(example: Example) -> NoisyVolume:
    assert isinstance(example, NoisyVolume)
    return example


def _example(name: str, file: str, image: Any) -> NoisyVolume:
    foreground = find_foreground(image, n_axes=image.ndim - 1, smooth_px=_FOREGROUND_PX)
    return NoisyVolume(name, file, image, SpanTable.measure(thin(image)[0]), foreground)


def _parts(volume: NoisyVolume, *, planes: bool) -> list[NoisyVolume]:
    """Return a volume, or its planes for a 2D network."""
    if not planes or len(volume.shape_px) == 2:
        return [volume]
    return [_plane(volume, z) for z in range(volume.shape_px[0])]


def _plane(volume: NoisyVolume, z: int) -> NoisyVolume:
    here = volume.foreground[volume.foreground[:, 0] == z, 1:]
    moment = part_of(volume.moment, f"z={z}")
    return replace(volume, name=f"{volume.name} z={z}", image=plane_in(volume.image, z), foreground=here, moment=moment)


def _rows(volume: NoisyVolume, first: int, last: int) -> NoisyVolume:
    y = volume.foreground[:, -2]
    here = volume.foreground[(y >= first) & (y < last)].copy()
    here[:, -2] -= first
    image = rows_in(volume.image, slice(first, last))
    moment = part_of(volume.moment, f"y={first}")
    return replace(volume, name=f"{volume.name} y={first}-{last}", image=image, foreground=here, moment=moment)


def _movies(examples: Sequence[NoisyVolume]) -> list[Any]:
    """Return planes of each time-lapse as one image (c, t, y, x), and volumes as they are.

    What a pixel's noise has in common in all frames, an earlier frame would give away.
    """
    series: dict[tuple[str, tuple[int, ...]], list[Any]] = defaultdict(list)
    for one in examples:
        if len(one.shape_px) == 2:
            series[one.name if one.moment is None else one.moment.series, one.shape_px].append(one.image)
    movies = [np.stack([np.asarray(plane[:]) for plane in alike[:_N_PLANES]], axis=1) for alike in series.values()]
    return [one.image for one in examples if len(one.shape_px) > 2] + movies


@dataclass(frozen=True, slots=True, eq=False)
class NoisyVolume:
    """One noisy image; in its patches some pixels are hidden, and the target is NaN at all others."""

    name: str
    file: str
    image: Any
    """(c, [z,] y, x)."""
    span: SpanTable
    foreground: NDArray[np.int64]
    structure_px: tuple[int, int] = (0, 0)
    """How far noise is alike along (y, x)."""
    is_fixed: bool = False
    """Whether a pixel's noise is alike in all planes, and so in earlier frames."""
    moment: Moment | None = None
    """Of a frame of a time-lapse."""
    earlier: Sequence[Self | None] = ()
    """The frames before it that the network reads, the latest first; None where one is not there."""

    @property
    def shape_px(self) -> tuple[int, ...]:
        return tuple(self.image.shape[1:])

    @property
    def images(self) -> Sequence[Any]:
        return [self.image]

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        percentiles = intensity.USUAL if rng is None else intensity.draw_percentiles(rng)
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        span, past = self.span.at(*percentiles), left_out(self.earlier, rng)
        seen = intensity.normalise(np.asarray(self.image[window]), span)
        before = [None if one is None else intensity.normalise(one.image[window], span) for one in past]
        rng = np.random.default_rng(list(corner)) if rng is None else rng
        if self.is_fixed:  # else an earlier frame would give the hidden pixel's noise away
            hidden = hide(with_earlier(seen, before), rng, self.structure_px, is_fixed=True)
            return Patch(hidden.input, hidden.target[: len(seen)])
        hidden = hide(seen, rng, self.structure_px)
        return Patch(with_earlier(hidden.input, before), hidden.target)


def hide(
    image: NDArray[np.float32],
    rng: np.random.Generator,
    structure_px: tuple[int, int] = (0, 0),
    *,
    is_fixed: bool = False,
) -> Patch:
    """Replace some pixels of an image (c, [z,] y, x), and return it with those pixels as they were, NaN elsewhere.

    Parameters
    ----------
    is_fixed : hide a pixel in all planes together
    """
    shape = image.shape[1:]
    drawn = rng.random((1, *shape[1:]) if is_fixed and len(shape) > 2 else shape)
    chosen = np.argwhere(np.broadcast_to(drawn < HIDDEN_SHARE / (1 + 2 * sum(structure_px)), shape))
    shown, wanted = image.copy(), np.full_like(image, np.nan)
    wanted[_pixels(chosen)] = image[_pixels(chosen)]
    for reach, axis in zip(structure_px, (-2, -1), strict=True):
        for step in (step for step in range(-reach, reach + 1) if step):
            beside = chosen.copy()
            beside[:, axis] = np.clip(beside[:, axis] + step, 0, shape[axis] - 1)
            shown[_pixels(beside)] = _any_near(image, beside, rng)
    shown[_pixels(chosen)] = _median_near(shown, chosen, within_plane=is_fixed)
    return Patch(shown, wanted)


def _pixels(places: NDArray[np.int64]) -> tuple[Any, ...]:
    """Return the index of places (…, axes) in all channels of an image."""
    return (slice(None), *np.moveaxis(places, -1, 0))


def _median_near(
    image: NDArray[np.float32], places: NDArray[np.int64], *, within_plane: bool = False
) -> NDArray[np.float32]:
    """Return the median of the neighbours of places (n, axes), without themselves: (c, n)."""
    steps = itertools.product((-1, 0, 1), repeat=places.shape[1])
    offsets = np.array([step for step in steps if any(step) and not (within_plane and any(step[:-2]))])
    around = _mirrored(places[:, None] + offsets, image.shape[1:])  # (n, neighbours, axes)
    return np.asarray(np.median(image[_pixels(around)], axis=-1), np.float32)


def _any_near(image: NDArray[np.float32], places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a pixel from somewhere near each place: (c, n)."""
    around = _mirrored(places + rng.integers(-FARTHEST_PX - 1, FARTHEST_PX + 2, places.shape), image.shape[1:])
    return np.asarray(image[_pixels(around)], np.float32)


def _mirrored(places: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.int64]:
    """Return places inside of an image: what is outside is mirrored at the last pixel."""
    last = np.array(shape) - 1
    inside = np.abs(places)
    return np.clip(np.where(inside > last, 2 * last - inside, inside), 0, last)


@dataclass(frozen=True, slots=True, eq=False)
class RecorruptedVolume:
    """A noisy image each patch of which is two with independent noise: to learn from, and to judge with."""

    volume: NoisyVolume
    camera: CameraModel

    @property
    def name(self) -> str:
        return self.volume.name

    @property
    def shape_px(self) -> tuple[int, ...]:
        return self.volume.shape_px

    @property
    def foreground(self) -> NDArray[np.int64]:
        return self.volume.foreground

    @property
    def images(self) -> Sequence[Any]:
        return self.volume.images

    @property
    def earlier(self) -> Sequence[NoisyVolume | None]:
        return self.volume.earlier

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        percentiles = intensity.USUAL if rng is None else intensity.draw_percentiles(rng)
        past = left_out(self.earlier, rng)
        rng = np.random.default_rng(list(corner)) if rng is None else rng
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        counts = np.asarray(self.volume.image[window], np.float32)
        noise = noise_like(counts, self.camera, rng)
        pattern = pattern_like(counts.shape, self.camera.pattern_sd, rng)
        noise += pattern
        shown, other = counts + np.float32(RECORRUPTION) * noise, counts - noise / np.float32(RECORRUPTION)
        before = [None if one is None else self._noisier(one.image[window], pattern, rng) for one in past]
        span = self.volume.span.at(*percentiles)
        seen = intensity.normalise(with_earlier(shown, before), intensity.repeated(span, 1 + len(before)))
        return Patch(seen, intensity.normalise(other, span))

    def _noisier(
        self, image: NDArray[Any], pattern: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return an earlier frame with as much noise more as the present one: the camera's pattern is in both."""
        counts = np.asarray(image, np.float32)
        return counts + np.float32(RECORRUPTION) * (noise_like(counts, self.camera, rng) + pattern)


def noise_like(counts: NDArray[np.float32], camera: CameraModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise as that of an image of counts (c, [z,] y, x), but for the camera's pattern."""
    expected = ndimage.gaussian_filter(counts, (*[0.0] * (counts.ndim - 2), _EXPECTED_PX, _EXPECTED_PX))
    noise = rng.standard_normal(counts.shape, np.float32)
    noise *= np.sqrt(camera.variance(expected))
    return noise
