"""Noisy images alone: pixels are hidden, structure of the noise is found, and a network is judged without a truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from click.testing import CliRunner

from care_live.cli import cli
from care_live.metrics import psnr_db
from care_live.model import file
from care_live.training.data.examples import Example, Patch, RepeatedVolume
from care_live.training.data.intensity import SpanTable
from care_live.training.data.loading import gather
from care_live.training.data.noisy import HIDDEN_SHARE, SHARE_OF_SECOND, NoisyVolume, RecorruptedVolume, hide
from care_live.training.evaluation.evaluate import estimate
from care_live.training.evaluation.inference import Applied
from care_live.training.loss import hidden_mse
from care_live.training.training_plan import own_recipe
from care_live.trust.camera import CameraModel
from care_live.trust.measured_noise import pattern_like
from tests.training.conftest import blobs


def write_noisy(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Write an image of photon noise; returns what a camera would count without it."""
    clean = 100 + 2.0 * np.clip(blobs(0, shape) / 20, 1, None)
    electrons = np.random.default_rng(0).poisson((clean - 100) / 2)
    (folder / "noisy").mkdir()
    counts = (100 + 2 * electrons + np.random.default_rng(1).normal(0, 2, shape)).clip(0).astype(np.uint16)
    tifffile.imwrite(folder / "noisy" / "v.tif", counts, photometric="minisblack")
    return clean


def gathered_exposures(
    folder: Path, clean: np.ndarray, *, pattern_sd: float, gain: float = 1.0, axes: str = "YX"
) -> list[RepeatedVolume]:
    """Write two exposures of planes, the second with as much noise and other light, and gather them."""
    pattern = np.random.default_rng(7).normal(0, pattern_sd, clean.shape[-2:])
    for seed, name in enumerate(("first", "second")):
        (folder / name).mkdir()
        counts = 100 + clean * gain**seed + pattern + np.random.default_rng(seed).normal(0, 10, clean.shape)
        tifffile.imwrite(folder / name / "v.tif", counts.clip(0).astype(np.uint16), photometric="minisblack")
    data = gather(own_recipe([folder / "first"], second=folder / "second", minutes=1.0, axes=axes))
    return [one for one in data.training if isinstance(one, RepeatedVolume)]


def test_planes_of_a_movie_show_the_pattern_of_their_camera(tmp_path: Path) -> None:
    movie = np.stack([blobs(t, (160, 160)) for t in range(6)])
    learnt = gathered_exposures(tmp_path, movie, pattern_sd=5.0, axes="TYX")
    assert len(learnt) == 5
    assert learnt[0].pattern_sd == pytest.approx((5.0,), rel=0.3)


def test_fine_structures_of_a_plane_that_is_alone_are_no_pattern(tmp_path: Path) -> None:
    fine = blobs(0, (192, 160)) + 60 * (np.random.default_rng(3).random((192, 160)) > 0.99)
    assert [one.pattern_sd for one in gathered_exposures(tmp_path, fine, pattern_sd=0.0)] == [()]


@pytest.mark.parametrize(("gain", "is_exchanged"), [(1.0, True), (0.8, False), (1.05, False)])
def test_exposures_are_exchanged_where_they_are_equally_bright(
    tmp_path: Path, gain: float, *, is_exchanged: bool
) -> None:
    """Else a network would see by a pixel's level which exposure it is of, and what the other has."""
    clean = blobs(0, (6, 192, 96))
    (one,) = gathered_exposures(tmp_path, clean, pattern_sd=0.0, gain=gain, axes="ZYX")
    assert one.is_exchanged == is_exchanged


def test_the_loss_counts_hidden_pixels_only() -> None:
    target = torch.tensor([[float("nan"), 1.0], [3.0, float("nan")]])
    mean = torch.tensor([[100.0, 2.0], [1.0, 100.0]], requires_grad=True)
    loss = hidden_mse(mean, target)
    loss.backward()
    assert loss.item() == pytest.approx((1 + 4) / 2)
    assert torch.isfinite(mean.grad).all()
    assert mean.grad[0, 0] == 0


def test_pixels_are_hidden_where_it_is_asked_for(tmp_path: Path) -> None:
    write_noisy(tmp_path, (6, 192, 96))
    recipe = own_recipe([tmp_path / "noisy"], minutes=1.0)
    hiding = recipe.model_copy(update={"data": recipe.data.model_copy(update={"hide_pixels": True})})
    usual, hidden = gather(recipe), gather(hiding)
    assert np.isfinite(patch_of(usual.training[0]).target).all()
    assert np.isfinite(patch_of(hidden.training[0]).target).mean() < 0.2
    assert usual.judged is None  # its validation images are two each
    assert hidden.judged
    assert (patch_of(hidden.judged[0]).target == patch_of(usual.validation[0]).target).all()


def test_a_network_of_planes_learns_from_hidden_pixels(tmp_path: Path) -> None:
    """It sees nothing of the camera's pattern there; with each image as two, lysosomes lost 1 dB."""
    write_noisy(tmp_path, (192, 192))
    data = gather(own_recipe([tmp_path / "noisy"], minutes=1.0))
    assert np.isfinite(patch_of(data.training[0]).target).mean() < 0.2
    assert data.judged


def test_pixels_are_hidden_where_the_noise_of_neighbours_is_alike(tmp_path: Path) -> None:
    write_noisy(tmp_path, (6, 192, 96))
    counts = tifffile.imread(tmp_path / "noisy" / "v.tif").astype(np.float32)
    alike = counts + 20 * np.repeat(np.random.default_rng(1).normal(0, 1, (6, 192, 32)), 3, axis=-1) + 100
    tifffile.imwrite(tmp_path / "noisy" / "v.tif", alike.astype(np.uint16), photometric="minisblack")
    data = gather(own_recipe([tmp_path / "noisy"], minutes=1.0))
    assert data.noise is not None
    assert data.noise.reach_px[1] >= 1
    assert np.isfinite(patch_of(data.training[0]).target).mean() < 0.2
    assert data.judged == []


def test_pixels_are_hidden_where_the_noise_of_neighbours_is_a_little_alike(tmp_path: Path) -> None:
    """Noise that is added is white: a network would keep of the image's own what neighbours have in common."""
    clean = write_noisy(tmp_path, (6, 192, 96))
    noise = tifffile.imread(tmp_path / "noisy" / "v.tif") - clean
    alike = clean + noise + 0.15 * np.roll(noise, 1, axis=-1)
    tifffile.imwrite(tmp_path / "noisy" / "v.tif", alike.astype(np.uint16), photometric="minisblack")
    data = gather(own_recipe([tmp_path / "noisy"], minutes=1.0))
    assert data.noise is not None
    assert 0.1 < data.noise.along_x[0] < 0.2
    assert data.noise.reach_px == (0, 0)
    assert np.isfinite(patch_of(data.training[0]).target).mean() < 0.2
    assert data.judged == []


def patch_of(example: Example) -> Patch:
    return example.cut((0,) * len(example.shape_px), example.shape_px, np.random.default_rng(0))


def test_a_network_is_judged_by_images_with_independent_noise(tmp_path: Path) -> None:
    clean = write_noisy(tmp_path, (6, 192, 96))
    data = gather(own_recipe([tmp_path / "noisy"], minutes=1.0))
    (judged,) = data.validation
    patch = judged.cut((0, 0, 0), judged.shape_px, None)
    truth = clean[:, 144:][None].astype(np.float32)
    low, high = (bound[0] for bound in judged.volume.span.at(2.0, 99.8))  # type: ignore[attr-defined]
    noise = [image - (truth - low) / (high - low) for image in patch]
    assert abs(np.corrcoef(*(part.ravel() for part in noise))[0, 1]) < 0.05
    share = np.square(noise[1]).mean() / np.square(noise[0] - noise[1]).mean()
    assert share == pytest.approx(SHARE_OF_SECOND, abs=0.05)
    row = estimate(
        [Applied("v", "v", patch.input, patch.input, None, None, patch.target)], second_noise=SHARE_OF_SECOND
    )
    width = np.subtract(*np.percentile(patch.target, (99.9, 0.1))) / np.subtract(*np.percentile(truth, (99.9, 0.1)))
    wanted = psnr_db(patch.input[0], truth[0]) + 20 * np.log10(width * (high - low))
    assert row.raw.psnr_db == pytest.approx(wanted, abs=2.0)


@pytest.mark.slow
def test_noisy_images_are_all_that_is_needed(tmp_path: Path) -> None:
    write_noisy(tmp_path, (4, 96, 64))
    command = ["train", "--input", tmp_path / "noisy", "--noisy-only", "--minutes", 0.03, "--run", tmp_path / "run"]
    done = CliRunner().invoke(cli, [str(word) for word in command], catch_exceptions=False)
    assert done.exit_code == 0
    assert "The noise of neighbours is alike" in done.output
    assert file.read_card(tmp_path / "run" / "own.onnx").heads == ("mean",)
    assert (tmp_path / "run" / "report.png").stat().st_size > 1000


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 8, 32, 32)])
def test_a_hidden_pixel_does_not_show_itself(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    patch = hide(image, np.random.default_rng(1))
    hidden = np.isfinite(patch.target)
    assert hidden.mean() == pytest.approx(HIDDEN_SHARE, abs=0.01)
    assert (patch.target[hidden] == image[hidden]).all()
    assert (patch.input[~hidden] == image[~hidden]).all()
    changed = image.copy()
    changed[hidden] += 5  # what is hidden has no way into the input
    again = hide(changed, np.random.default_rng(1))
    apart = hidden & ~_beside_hidden(hidden)
    assert apart.any()
    assert (again.input[apart] == patch.input[apart]).all()


def _beside_hidden(hidden: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    n_axes = hidden.ndim - 1
    around = np.ones((1, *[3] * n_axes))
    return ndimage.convolve(hidden.astype(np.float32), around, mode="mirror") > 1.5


def test_pixels_along_structured_noise_are_hidden_too() -> None:
    image = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    patch = hide(image, np.random.default_rng(1), (0, 2))
    assert np.isfinite(patch.target).mean() == pytest.approx(HIDDEN_SHARE / 5, abs=0.01)  # with those along: as many
    _, y, x = np.argwhere(np.isfinite(patch.target))[7]
    assert (patch.input[0, y, max(x - 2, 0) : x] != image[0, y, max(x - 2, 0) : x]).all()


def test_a_pixel_with_a_pattern_is_hidden_in_all_planes() -> None:
    image = np.random.default_rng(0).random((1, 5, 32, 32)).astype(np.float32)
    hidden = np.isfinite(hide(image, np.random.default_rng(1), is_fixed=True).target)[0]
    assert 0.04 < hidden.mean() < 0.12
    assert (hidden == hidden[0]).all()


@pytest.mark.parametrize("shape", [(1, 8, 96, 96), (1, 256, 256)], ids=["stack", "plane"])
def test_the_two_images_have_neither_noise_nor_pattern_in_common(shape: tuple[int, ...]) -> None:
    camera = CameraModel(gain=2.0, offset=100.0, read_noise=2.0, origin="a test", pattern_sd=4.0)
    drawn, clean = np.random.default_rng(0), np.full(shape, 130, np.float32)
    noise = 2 * drawn.poisson((clean - 100) / 2) - (clean - 100) + drawn.normal(0, 4, shape)
    counts = (clean + noise + pattern_like(shape, 4.0, drawn)).astype(np.float32)
    known = SpanTable.measure(counts)
    volume = RecorruptedVolume(NoisyVolume("v", "v", counts, known, np.empty((0, len(shape) - 1), int)), camera)
    patch = volume.cut((0,) * (len(shape) - 1), shape[1:], np.random.default_rng(1))
    first, second = (image - image.mean() for image in patch)
    assert abs(float(np.mean(first * second))) < 0.05 * float(np.mean(first**2))
    columns = [image.mean(axis=1) for image in (first, second)] if len(shape) == 4 else [first, second]
    assert abs(float(np.mean(columns[0] * columns[1]))) < 0.1 * float(np.mean(columns[0] ** 2))
    assert (volume.cut((0,) * (len(shape) - 1), shape[1:], None).input != patch.input).any()
