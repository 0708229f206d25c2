"""Time-lapses to learn from: each frame with those before it, by the rule that holds live, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from care_live.errors import ConfigError, TrainingError
from care_live.training.data import past_frames
from care_live.training.data.data_recipe import ExposuresData, NoisyData, PairsData
from care_live.training.data.examples import Data, Example
from care_live.training.data.intensity import USUAL
from care_live.training.data.loading import gather
from care_live.training.data.noisy import NoisyVolume, RecorruptedVolume
from care_live.training.data.past_frames import JoinedImages, Moment
from care_live.training.network_recipe import NetworkRecipe
from care_live.training.recipe import FitRecipe, Recipe

SHAPE = (6, 96, 96)
"""(t, y, x)"""
SPOTS = (np.random.default_rng(7).random(SHAPE[1:]) > 0.99).astype(float)
CLEAN = 20 + 4000 * ndimage.gaussian_filter(SPOTS, 2.0)
"""Photo-electrons, the same in all frames."""


def movie(path: Path, *, axes: str, seed: int, bright: float = 1.0, stripes: float = 0.0) -> np.ndarray:
    """Write a time-lapse of spots that stand still, each frame with its number in its first pixel."""
    rng = np.random.default_rng(seed)
    pattern = np.random.default_rng(8).normal(0, stripes, (96, 96)) if stripes else 0.0
    shape = SHAPE if axes == "TYX" else (SHAPE[0], 4, *SHAPE[1:])
    image = 100 + bright * 2 * (rng.poisson(CLEAN, shape) + rng.normal(0, 1, shape)) + pattern
    pixels = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes})
    return pixels


def recipe(data: object, axes: str, *, loss: str, past: int = 2) -> Recipe:
    network = NetworkRecipe(axes=axes[1:], filters=4, depth=1, past=past, probabilistic=False)  # type: ignore[arg-type]
    return Recipe(name="past", network=network, data=data, fit=FitRecipe(loss=loss, minutes=1))  # type: ignore[arg-type]


def of_kind(kind: str, folder: Path, axes: str, **more: object) -> tuple[Data, dict[str, list[np.ndarray]]]:
    """Return what is gathered of two movies, and their pixels."""
    made: dict[str, list[np.ndarray]] = {}
    for number, name in enumerate(("low", "second")):
        made[name] = [movie(folder / name / f"{one}.tif", axes=axes, seed=10 * number + one) for one in (1, 2)]
    common = {"axes": axes, **more}
    match kind:
        case "pairs":
            data: object = PairsData(inputs=(folder / "low",), target=(folder / "second",), **common)  # type: ignore[arg-type]
            loss = "mse"
        case "exposures":
            data, loss = ExposuresData(exposures=(folder / "low", folder / "second"), **common), "mse"  # type: ignore[arg-type]
        case _:
            data, loss = NoisyData(images=(folder / "low",), **common), "hidden_mse"  # type: ignore[arg-type]
    return gather(recipe(data, axes, loss=loss)), made


def frame_of(example: Example) -> tuple[str, int]:
    one = example.volume if isinstance(example, RecorruptedVolume) else example
    assert one.moment is not None  # type: ignore[attr-defined]
    return one.moment.series, one.moment.t  # type: ignore[attr-defined]


@pytest.mark.parametrize("axes", ["TYX", "TZYX"])
@pytest.mark.parametrize("kind", ["pairs", "exposures", "noisy"])
def test_each_frame_has_those_before_it_of_its_own_movie(tmp_path: Path, kind: str, axes: str) -> None:
    data, made = of_kind(kind, tmp_path, axes)
    for example in (*data.training, *data.validation, *(data.judged or ())):
        series, t = frame_of(example)
        patch = example.cut((0,) * len(example.shape_px), example.shape_px, None)
        assert patch.input.shape == (3, *example.shape_px)
        assert patch.target.shape == (1, *example.shape_px)
        if isinstance(example, RecorruptedVolume | NoisyVolume):
            continue  # its input is noisier, or has hidden pixels
        pixels = made["low"][int(series.split()[0]) - 1]
        seen = [pixels[max(0, t - back)] for back in range(3)]
        for shown, raw in zip(patch.input, seen, strict=True):
            plane = raw if axes == "TYX" or raw.shape == example.shape_px else None
            if plane is not None:
                assert np.corrcoef(shown.ravel(), plane.ravel())[0, 1] > 0.9999


def test_gaps_are_learnt_and_the_present_stands_in(tmp_path: Path) -> None:
    data, _ = of_kind("pairs", tmp_path, "TYX")
    example = next(one for one in data.training if frame_of(one)[1] == 4)
    rng = np.random.default_rng(1)
    alike = []
    for _ in range(300):
        now, last, before = example.cut((0, 0), (32, 32), rng).input
        alike.append(((now == last).all(), (last == before).all()))
    shares = np.mean(alike, axis=0)
    assert 0.01 < shares[0] < 0.12
    assert 0.01 < shares[1] < 0.12


def test_one_draw_of_noise_stands_for_a_frame_that_stands_in(tmp_path: Path) -> None:
    """What stands in has the noise of the present one, as it will live."""
    data, _ = of_kind("noisy", tmp_path, "TZYX")
    example = next(one for one in (*data.training, *data.validation) if frame_of(one)[1] == 0)
    patch = example.cut((0, 0, 0), (4, 32, 32), np.random.default_rng(3))
    if isinstance(example, RecorruptedVolume):
        assert (patch.input[0] == patch.input[1]).all()
        assert (patch.input[0] == patch.input[2]).all()


def test_a_pattern_of_the_camera_is_hidden_in_earlier_frames_too(tmp_path: Path) -> None:
    """Else the network would copy it from there: it is the same in all frames."""
    for one in (1, 2):
        movie(tmp_path / "low" / f"{one}.tif", axes="TYX", seed=one, stripes=12.0)
    data = gather(recipe(NoisyData(images=(tmp_path / "low",), axes="TYX"), "TYX", loss="hidden_mse"))
    example = data.training[-1]
    assert isinstance(example, NoisyVolume) and example.is_fixed
    patch = example.cut((0, 0), (96, 96), None)
    hidden = np.isfinite(patch.target[0])
    raw = [np.asarray(one.image[:])[0] for one in (example, *example.earlier) if one is not None]
    low, high = example.span.at(*USUAL)
    for image, pixels in zip(patch.input, raw, strict=False):
        seen, noise = ((one - 100 - 2 * CLEAN)[hidden] for one in (image * (high - low) + low, pixels))
        assert abs(np.corrcoef(seen, noise)[0, 1]) < 0.3


def test_stills_are_refused(tmp_path: Path) -> None:
    for one in (1, 2):
        pixels = movie(tmp_path / "low" / f"{one}.tif", axes="TYX", seed=one)
        tifffile.imwrite(tmp_path / "low" / f"{one}.tif", pixels, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(TrainingError, match=r"no image has an earlier time point.*--axes"):
        gather(recipe(NoisyData(images=(tmp_path / "low",), axes="ZYX"), "TZYX", loss="hidden_mse"))


def test_only_recorded_time_lapses_have_a_past() -> None:
    with pytest.raises((ConfigError, ValueError), match=r"network\.past needs recorded time-lapses"):
        Recipe.model_validate({"name": "x", "network": {"past": 1}, "data": {"kind": "simulated"}})
    with pytest.raises(ValueError, match="past needs projection = false and residual = false"):
        NetworkRecipe(past=1, residual=True)


def test_joined_images_are_read_as_one() -> None:
    images = [np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) + 1000 * number for number in range(3)]
    whole, lazy = np.concatenate(images), JoinedImages(images)
    assert (lazy.shape, lazy.ndim) == ((6, 3, 4, 5), 4)
    for window in [(slice(None),), (slice(1, 5), slice(0, 2)), (slice(None), slice(None), slice(None, None, 2))]:
        assert (lazy[window] == whole[window]).all()
    assert past_frames.joined(images[0], ()) is images[0]
    assert (past_frames.joined(images[0], [None, images[2]])[:] == np.concatenate([images[i] for i in (0, 0, 2)])).all()


def test_frames_of_another_movie_are_not_before_one() -> None:
    class One:
        def __init__(self, series: str, t: int) -> None:
            self.moment = Moment(series, t)

    frames = [One("a", 0), One("a", 1), One("b", 1)]
    by_moment = {one.moment: one for one in frames}
    assert past_frames.before(One("b", 2), 2, by_moment) == (frames[2], None)
    assert past_frames.before(One("a", 2), 3, by_moment) == (frames[1], frames[0], None)
