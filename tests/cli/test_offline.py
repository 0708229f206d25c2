"""care-live restore: the same numbers from any kind of file, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.cli import main
from care_live.config import NormaliseConfig, RestoreConfig
from care_live.images import Restored
from care_live.restore.engine import Engine
from care_live.store import RunReader, RunWriter, verify
from tests.conftest import need_data
from tests.make.networks import noisy, save_network, volume


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture
def movie(tmp_path: Path) -> np.ndarray:
    """Three time points of five planes, in ``movie.tif``."""
    pixels = np.stack([noisy((5, 24, 30), seed=t) for t in range(3)])
    tifffile.imwrite(tmp_path / "movie.tif", pixels)
    return pixels


def restore(*arguments: object) -> int:
    try:
        main(["restore", *map(str, arguments), "--provider", "cpu", "--threads", "1"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def wanted(network: Path, movie: np.ndarray) -> list[np.ndarray]:
    engine = Engine(network, RestoreConfig(provider="cpu", threads=1))
    return [engine.restore([volume(stack, t=t)])[0].mean for t, stack in enumerate(movie)]


def test_a_tiff_becomes_an_ome_tiff(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    target = tmp_path / "out.ome.tif"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network) == 0
    with tifffile.TiffFile(target) as written:
        assert written.series[0].axes == "TCZYX"
        pixels = written.asarray()
        assert "not for intensity quantification" in (written.ome_metadata or "")
        assert "MapAnnotation" not in (written.ome_metadata or "")
    for t, mean in enumerate(wanted(network, movie)):
        assert (pixels[t, 0] == mean).all()
    assert pixels.shape[1] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movie.tif", "out.ome.tif"]


def test_flags_are_printed_and_written_into_a_tiff(
    tmp_path: Path, network: Path, movie: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    movie[1:, 2, 3, 4] = 65535
    movie[2] = 100
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    target = tmp_path / "out.ome.tif"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network) == 0
    assert capsys.readouterr().out.endswith("with net, 1 empty, 1 saturated\n")
    with tifffile.TiffFile(target) as written:
        said = written.ome_metadata or ""
    assert '<M K="saturated">at time points 1</M>' in said
    assert '<M K="empty">at time points 2</M>' in said


def test_a_fixed_range_is_taken_as_it_is(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    target = tmp_path / "out.ome.tif"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network, "--range", 90, 400) == 0
    fixed = NormaliseConfig(mode="fixed", low_counts=90, high_counts=400)
    engine = Engine(network, RestoreConfig(provider="cpu", threads=1, normalise=fixed))
    for t, pixels in enumerate(tifffile.imread(target)):
        assert (pixels[0] == engine.restore([volume(movie[t], t=t)])[0].mean).all()


def test_a_range_upside_down_is_refused(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    target = tmp_path / "out.ome.tif"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network, "--range", 400, 90) == 2
    assert not target.exists()


@pytest.mark.slow
def test_a_tiff_becomes_an_ome_zarr_run_that_verifies(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    target = tmp_path / "out.ome.zarr"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network) == 0
    assert verify(target).clean
    reader = RunReader(target)
    assert len(reader.keys("restored")) == 3
    for key, stack, mean in zip(sorted(reader.keys("restored")), movie, wanted(network, movie), strict=True):
        assert (reader.read("raw", key) == stack).all()
        assert np.allclose(reader.read("restored", key), mean, rtol=2e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movie.tif", "out.ome.zarr"]


@pytest.mark.slow
def test_the_raw_image_of_a_run_can_be_restored_again(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    assert restore(tmp_path / "movie.tif", tmp_path / "one", "--axes", "TZYX", "--model", network) == 0
    assert restore(tmp_path / "one" / "raw" / "0", tmp_path / "two.tif", "--model", network) == 0
    assert (tifffile.imread(tmp_path / "two.tif")[0, 0] == wanted(network, movie)[0]).all()


@pytest.mark.parametrize(
    ("source", "options", "code", "said"),
    [
        ("none.tif", [], 2, "no data set"),
        ("movie.tif", [], 2, "axes"),
        ("text.txt", [], 1, "text.txt"),
        ("movie.tif", ["--axes", "TZYX", "--model", "none.onnx"], 2, "cannot read the network"),
        ("movie.tif", ["--axes", "TZYX", "--tile", "4", "8", "8"], 2, "leaves no interior"),
        ("movie.tif", ["--axes", "TCYX"], 1, "there is no"),
    ],
    ids=["no-file", "no-axes", "no-image", "no-model", "small-tile", "two-channel-network"],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    tmp_path: Path, movie: np.ndarray, network: Path, capsys: pytest.CaptureFixture[str],
    source: str, options: list[str], code: int, said: str,
) -> None:  # fmt: skip
    (tmp_path / "text.txt").write_text("no image")
    before = sorted(tmp_path.iterdir())
    if said == "there is no":
        network, said = save_network(tmp_path.parent / "two.onnx", c_in=2), "takes 2 channels"
    model = [] if "--model" in options else ["--model", str(network)]
    assert restore(tmp_path / source, tmp_path / "out.tif", *options, *model) == code
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def damage(path: Path, movie: np.ndarray, *, t: int, z: int) -> None:
    """Write a movie with one plane that cannot be decoded."""
    tifffile.imwrite(path, movie, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[5 * t + z].dataoffsets[0]
    with path.open("r+b") as written:
        written.seek(start + 4)
        written.write(bytes(8))


def test_a_bad_plane_costs_its_own_time_point_in_a_tiff(
    tmp_path: Path, network: Path, movie: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tmp_path / "movie.tif", movie, t=1, z=3)
    target = tmp_path / "out.ome.tif"
    for _ in range(2):  # what lacks a time point is not complete, however often it is asked for
        assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network) == 1
        message = capsys.readouterr().err
        assert "1 of 3 time points were not restored" in message
        assert message.count("\n") == 1
    with tifffile.TiffFile(target) as written:
        pixels = written.asarray()
        assert '<M K="not restored">time points 1</M>' in (written.ome_metadata or "")
    engine = Engine(network, RestoreConfig(provider="cpu", threads=1))
    for t in (0, 2):
        assert (pixels[t, 0] == engine.restore([volume(movie[t], t=t)])[0].mean).all()
    assert np.isnan(pixels[1]).all()


@pytest.mark.slow
def test_a_bad_plane_costs_its_own_time_point_in_a_run(
    tmp_path: Path, network: Path, movie: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tmp_path / "movie.tif", movie, t=1, z=3)
    target = tmp_path / "out"
    assert restore(tmp_path / "movie.tif", target, "--axes", "TZYX", "--model", network) == 1
    assert "plane t=1 p=0 c=0 z=3" in capsys.readouterr().err
    assert verify(target).clean
    assert sorted(key.t for key in RunReader(target).keys("restored")) == [0, 2]


@pytest.mark.parametrize("out", ["out.tif", "out"])
def test_of_what_is_bad_throughout_nothing_is_left(tmp_path: Path, network: Path, movie: np.ndarray, out: str) -> None:
    damage(tmp_path / "movie.tif", movie[:1], t=0, z=0)
    assert restore(tmp_path / "movie.tif", tmp_path / out, "--axes", "TZYX", "--model", network) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["movie.tif"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ndtiff_micromanager/v3/ndtiffv3.0_test", (5, 4, 1, 32, 32)),
        ("ndtiff_micromanager/v3/ndtiff3.2_multichannel", (8, 4, 16, 64, 64)),
        ("mitosis_5d_crop/xyzct-mitosis.tif", (3, 4, 5, 196, 171)),
    ],
    ids=["ndtiff", "ndtiff-stacks", "two-channels"],
)
def test_real_data_sets(tmp_path: Path, network: Path, name: str, shape: tuple[int, ...]) -> None:
    assert restore(need_data(name), tmp_path / "out.tif", "--model", network) == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        assert written.series[0].shape == tuple(n for n in shape if n > 1)
        assert np.isfinite(written.asarray()).all()


def test_an_existing_result_is_not_overwritten(tmp_path: Path, network: Path, movie: np.ndarray) -> None:
    (tmp_path / "out.tif").write_text("mine")
    assert restore(tmp_path / "movie.tif", tmp_path / "out.tif", "--axes", "TZYX", "--model", network) == 2
    assert (tmp_path / "out.tif").read_text() == "mine"


def test_an_interrupted_command_says_that_the_same_goes_on(
    tmp_path: Path,
    network: Path,
    movie: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = (tmp_path / "movie.tif", tmp_path / "out", "--model", network, "--axes", "TZYX")
    write = RunWriter.write_restored

    def interrupted(self: RunWriter, restored: Restored, **others: object) -> None:
        if restored.key.t == len(movie) - 1:
            raise KeyboardInterrupt
        write(self, restored, **others)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "write_restored", interrupted)
        assert restore(*command) == 130
    assert "interrupted; the same command goes on where it was" in capsys.readouterr().err
    assert restore(*command) == 0
    assert f"{len(movie) - 1} were restored before" in capsys.readouterr().out
