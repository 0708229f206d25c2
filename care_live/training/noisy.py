"""Noise2Void: noisy images and nothing else. A network predicts pixels that it is not shown from those around them.

Some pixels of each patch are replaced by the median of their neighbours, and only there is the error counted. Noise
that is alike in neighbours (rows or columns of a camera) would give itself away: where the measured noise is
correlated along an axis, the pixels along it are hidden, too.

References
----------
Krull et al., "Noise2Void", CVPR 2019; Broaddus et al., "Removing structured noise", ISBI 2020; Höck et al., "N2V2",
2022, for the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from care_live.training import percentile_jitter, volumes
from care_live.training.data_recipe import NoisyData
from care_live.training.examples import Data, Patch, Tell, find_foreground
from care_live.training.hidden_pixels import FARTHEST_PX, NoisyVolume
from care_live.training.image_parts import plane_in, rows_in, thin
from care_live.training.pairs import split, split_point
from care_live.training.percentile_jitter import SpanTable
from care_live.training.recipe import Recipe
from care_live.trust.camera import CameraModel
from care_live.trust.photon_transfer import camera_of, transfer_points

ALIKE = 0.25
"""Correlation of the noise of neighbours from which on they are hidden together."""
DARK_SHARE = 0.2
"""Of the image, where noise is measured: elsewhere structures of the specimen look like noise that is alike."""
_SMOOTH_PX, _N_PLANES = 2.0, 16
RECORRUPTION = 0.5
"""Of the noise, added to the image that is restored to judge a network; see `RecorruptedVolume`."""
SHARE_OF_SECOND = 1 / (1 + RECORRUPTION**2)
"""Of the mean squared difference of two recorrupted images that is noise of the second."""


@dataclass(frozen=True, slots=True, eq=False)
class RecorruptedVolume:
    """A noisy image as two images with independent noise, y + a·n and y - n/a, for n as noisy as y: to judge with.

    References
    ----------
    Pang et al., "Recorrupted-to-Recorrupted", CVPR 2021.
    """

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

    def cut(self, corner: Sequence[int], patch_px: Sequence[int], rng: np.random.Generator | None) -> Patch:
        rng = np.random.default_rng(list(corner)) if rng is None else rng
        window = (slice(None), *(slice(start, start + size) for start, size in zip(corner, patch_px, strict=True)))
        counts = np.asarray(self.volume.image[window], np.float32)
        noise = rng.standard_normal(counts.shape, np.float32) * np.sqrt(self.camera.variance(counts))
        span = self.volume.span.at(*percentile_jitter.USUAL)
        pair = counts + RECORRUPTION * noise, counts - noise / RECORRUPTION
        return Patch(*(percentile_jitter.normalise(image, span) for image in pair))


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
        examples += _parts(_example(name, stored.file, image), planes=recipe.network.axes == "YX")
    if len(examples) == 1 and not data.validation:
        (whole,) = examples
        first = split_point(whole.shape_px[-2])
        parts = [_rows(whole, slice(0, first)), _rows(whole, slice(first, None))]
        gathered = Data(parts[:1], parts[1:])
    else:
        gathered = split(examples, data.validation)
    judged = [_recorrupted(one) for one in gathered.validation if isinstance(one, NoisyVolume)]
    known = [one for one in judged if one is not None]
    return replace(gathered, judged=known, second_noise=SHARE_OF_SECOND, target_unit="counts")


def noise_structure(image: Any) -> tuple[int, int]:
    """Return how far along (y, x) the noise of neighbours is alike, measured where the image is dark.

    Parameters
    ----------
    image : (c, [z,] y, x)
    """
    planes = _middle_planes(image).astype(np.float32)
    smooth = ndimage.gaussian_filter(planes, (0, _SMOOTH_PX, _SMOOTH_PX))
    dark = smooth < np.quantile(smooth, DARK_SHARE)
    left = np.where(dark, planes - smooth, 0)
    return tuple(_reach(left, dark, axis) for axis in (1, 2))  # type: ignore[return-value]


def _middle_planes(image: Any) -> NDArray[Any]:
    """Return some planes, one after the other, of the first channel of an image (c, [z,] y, x), as (z, y, x)."""
    if image.ndim == 3:
        return np.asarray(image[:1])
    first = max(0, (image.shape[1] - _N_PLANES) // 2)
    planes: NDArray[Any] = np.asarray(image[0:1, first : first + _N_PLANES])[0]
    return planes


def _reach(left: NDArray[np.float32], dark: NDArray[np.bool_], axis: int) -> int:
    variance = float(np.square(left)[dark].mean()) if dark.any() else 0.0
    for step in range(1, FARTHEST_PX + 1):
        both = np.moveaxis(dark, axis, -1)[..., step:] & np.moveaxis(dark, axis, -1)[..., :-step]
        moved = np.moveaxis(left, axis, -1)
        products = (moved[..., step:] * moved[..., :-step])[both]
        if products.size == 0 or float(products.mean()) < ALIKE * variance:
            return step - 1
    return FARTHEST_PX


def _example(name: str, file: str, image: Any) -> NoisyVolume:
    foreground = find_foreground(image, n_axes=image.ndim - 1, smooth_px=_SMOOTH_PX)
    return NoisyVolume(name, file, image, SpanTable.measure(thin(image)[0]), foreground, noise_structure(image))


def _parts(volume: NoisyVolume, *, planes: bool) -> list[NoisyVolume]:
    """Return a volume, or its planes for a 2D network."""
    if not planes or len(volume.shape_px) == 2:
        return [volume]
    return [_plane(volume, z) for z in range(volume.shape_px[0])]


def _plane(volume: NoisyVolume, z: int) -> NoisyVolume:
    here = volume.foreground[volume.foreground[:, 0] == z, 1:]
    rest = volume.span, here, volume.structure_px
    return NoisyVolume(f"{volume.name} z={z}", volume.file, plane_in(volume.image, z), *rest)


def _rows(volume: NoisyVolume, rows: slice) -> NoisyVolume:
    first, last = rows.start, volume.shape_px[-2] if rows.stop is None else rows.stop
    y = volume.foreground[:, -2]
    here = volume.foreground[(y >= first) & (y < last)].copy()
    here[:, -2] -= first
    rest = volume.span, here, volume.structure_px
    return NoisyVolume(f"{volume.name} y={first}-{last}", volume.file, rows_in(volume.image, slice(first, last)), *rest)


def _recorrupted(volume: NoisyVolume) -> RecorruptedVolume | None:
    """Return a volume to judge with; None where its noise can't be measured, or is alike in neighbours."""
    points = () if any(volume.structure_px) else transfer_points(_middle_planes(volume.image))
    camera = camera_of(points, "the image itself")
    return None if camera is None else RecorruptedVolume(volume, camera)
