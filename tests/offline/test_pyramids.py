"""Coarser levels in what is restored: whole, checked, and the same bytes after interruptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

import care_live
from care_live.offline import estimate, open_network, plan_archive
from care_live.pyramid import coarser, combine_of, halved
from care_live.store import RunWriter, verify, zarr_images
from tests.make.networks import noisy, save_network
from tests.make.plates import write_plate
from tests.offline.results import files

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
PRODUCTS = ("raw", "restored", "laplace_scale")
N_TIMES, HEIGHT, WIDTH = 2, 515, 530


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", ndim=2, filters=2)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("movie") / "movie.ome.tif"
    planes = np.stack([noisy((HEIGHT, WIDTH), seed=t) for t in range(N_TIMES)])
    tifffile.imwrite(path, planes, ome=True, metadata={"axes": "TYX"})
    return path


@pytest.fixture(scope="module")
def undisturbed(movie: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    care_live.restore(movie, output, model=model, **SETTINGS)
    return output


def datasets_of(image: Path) -> list[dict]:
    return json.loads((image / "zarr.json").read_bytes())["attributes"]["ome"]["multiscales"][0]["datasets"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_image_is_halved_until_it_is_small(undisturbed: Path, product: str) -> None:
    image = undisturbed / product / "0"
    yaozarrs.validate_zarr_store(str(image))
    first, second = datasets_of(image)
    (scale,), (half, shift) = first["coordinateTransformations"], second["coordinateTransformations"]
    assert half["scale"] == [*scale["scale"][:3], 2 * scale["scale"][3], 2 * scale["scale"][4]]
    assert shift["translation"] == [0, 0, 0, scale["scale"][3] / 2, scale["scale"][4] / 2]
    whole, small = (zarr.open_array(image / level, mode="r") for level in "01")
    assert small.shape == (N_TIMES, 1, 1, 258, 265)
    for t in range(N_TIMES):
        np.testing.assert_array_equal(small[t, 0], coarser(whole[t, 0], 1, combine_of(product)))


def test_levels_have_checksums(undisturbed: Path, tmp_path: Path) -> None:
    assert verify(undisturbed).clean
    copy = tmp_path / "copy"
    for name, content in files(undisturbed).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)
    (copy / "journal.jsonl").write_bytes((undisturbed / "journal.jsonl").read_bytes())
    (copy / "restored/0/1/c/1/0/0/0/0").write_bytes((copy / "restored/0/1/c/0/0/0/0/0").read_bytes())
    assert {(problem.kind, problem.where) for problem in verify(copy).problems} == {("checksum", "restored/0/1/c/1/0")}


def stopping_after(n_calls: int, call: Callable) -> Callable:
    left = iter(range(n_calls))

    def stops(*arguments: object, **named: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return call(*arguments, **named)

    return stops


@pytest.mark.parametrize("n_arrays", [1, 2, 5])
def test_interrupted_between_arrays_it_goes_on_to_the_same_bytes(
    movie: Path, model: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_arrays: int
) -> None:
    """The full resolution is made last: what is there before is used."""
    with monkeypatch.context() as patched:
        patched.setattr(zarr, "create_array", stopping_after(n_arrays, zarr.create_array))
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS)
    care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS)
    assert files(tmp_path / "out") == files(undisturbed)


@pytest.mark.parametrize("n_levels", [0, 2, 3])
def test_interrupted_between_levels_it_goes_on_to_the_same_bytes(
    movie: Path, model: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_levels: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(zarr_images, "halved", stopping_after(n_levels, halved))
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS)
    report = care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored + report.n_before == N_TIMES
    assert files(tmp_path / "out") == files(undisturbed)
    assert verify(tmp_path / "out").clean


@pytest.fixture(scope="module")
def flat(movie: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result without levels; those of older versions have none, either."""
    output = tmp_path_factory.mktemp("flat") / "out"
    care_live.restore(movie, output, model=model, pyramid=False, **SETTINGS)
    assert not any("/0/1/" in name for name in files(output))
    return output


@pytest.mark.parametrize("begun_with", [False, True], ids=["without", "with levels"])
def test_a_result_goes_on_as_it_was_begun(
    movie: Path,
    model: Path,
    undisturbed: Path,
    flat: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun_with: bool,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "write_restored", stopping_after(1, RunWriter.write_restored))
        with pytest.raises(KeyboardInterrupt):
            care_live.restore(movie, tmp_path / "out", model=model, pyramid=begun_with, **SETTINGS)
    care_live.restore(movie, tmp_path / "out", model=model, pyramid=not begun_with, **SETTINGS)
    assert files(tmp_path / "out") == files(undisturbed if begun_with else flat)
    assert verify(tmp_path / "out").clean


def test_a_volume_whose_levels_find_no_memory_fails_alone(
    movie: Path, model: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([False] * len(PRODUCTS) + [True])  # the first volume of the second time point

    def finds_none_once(*arguments: object, **named: object) -> object:
        if next(left, False):
            raise MemoryError
        return halved(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(zarr_images, "halved", finds_none_once)
        report = care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS)
    (problem,) = report.problems
    assert report.n_restored == N_TIMES - 1 and "1 of 2 time points" in problem and "--no-pyramid" in problem
    assert care_live.restore(movie, tmp_path / "out", model=model, **SETTINGS).n_restored == 1
    assert files(tmp_path / "out") == files(undisturbed)


def test_a_dry_run_counts_their_bytes(movie: Path, model: Path, tmp_path: Path) -> None:
    network = open_network(model, provider="cpu", threads=1)
    sizes = {}
    for pyramid in (False, True):
        plan = plan_archive([movie], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False, pyramid=pyramid)
        sizes[pyramid] = estimate(plan, network).n_bytes
    assert sizes[True] / sizes[False] == pytest.approx(1 + 258 * 265 / (HEIGHT * WIDTH))


def test_the_fields_of_a_plate_have_levels(model: Path, tmp_path: Path) -> None:
    fields = np.stack([noisy((HEIGHT, WIDTH), seed=n) for n in range(2)])[:, None]
    write_plate(str(tmp_path / "plate.zarr"), ["A/1", "B/2"], fields)
    report = care_live.restore(tmp_path / "plate.zarr", tmp_path / "out", model=model, **SETTINGS)
    assert report.problems == []
    yaozarrs.validate_zarr_store(str(tmp_path / "out/restored"))
    assert [one["path"] for one in datasets_of(tmp_path / "out/restored/B/2/0")] == ["0", "1"]
    assert verify(tmp_path / "out").clean
