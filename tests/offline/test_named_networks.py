"""Files with a network for each channel: what each alone gives, what passes through, the same bytes after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from numpy.typing import NDArray

import care_live
from care_live.cli import cli
from care_live.config import RestoreConfig
from care_live.errors import ConfigError, RestoreError
from care_live.images import VolumeKey
from care_live.model import file
from care_live.offline import open_networks
from care_live.restore.engine import Engine
from care_live.store import RunReader, verify
from tests.make.networks import noisy, save_network, volume
from tests.offline.results import SETTINGS, files, interrupt_after

CHANNELS = ["Brightfield", "Nuclei", "Membrane", "Vessels"]
N_TIMES = 3


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "movie.ome.tif"
    pixels = np.stack([[noisy((3, 16, 18), seed=9 * t + c) for c in range(4)] for t in range(N_TIMES)])
    metadata = {"axes": "TCZYX", "Channel": {"Name": CHANNELS}}
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata)
    return path


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str | tuple[str, ...], Path | None]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        "Brightfield": None,
        "Vessels": save_network(folder / "single.onnx", filters=2, seed=2),
        ("Nuclei", "Membrane"): save_network(folder / "joint.onnx", filters=2, seed=3, c_in=2, c_out=1),
    }


@pytest.fixture(scope="module")
def undisturbed(
    movie: Path, networks: dict[str | tuple[str, ...], Path | None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    report = care_live.restore(movie, output, model=networks, **SETTINGS)
    assert (report.n_restored, report.problems) == (N_TIMES, [])
    return output


def alone(network: Path, movie: Path, *channels: int) -> list[NDArray[np.float32]]:
    """Return what a network gives of these channels with no other one beside it."""
    pixels = tifffile.imread(movie)
    engine = Engine(network, RestoreConfig(model=network, provider="cpu", threads=1, streaming="off"))
    return [engine.restore([volume(pixels[t, c], t=t, c=c) for c in channels])[0].mean for t in range(N_TIMES)]


def test_each_channel_is_what_its_network_alone_gives(undisturbed: Path, movie: Path, networks: dict) -> None:
    run = RunReader(undisturbed)
    assert run.keys("raw") == [VolumeKey(t, 0, c) for t in range(N_TIMES) for c in range(4)]
    assert run.keys("restored") == [VolumeKey(t, 0, c) for t in range(N_TIMES) for c in (1, 3)]
    joint, single = networks["Nuclei", "Membrane"], networks["Vessels"]
    for c, wanted in {1: alone(joint, movie, 1, 2), 3: alone(single, movie, 3)}.items():
        for t, mean in enumerate(wanted):
            np.testing.assert_array_equal(run.read("restored", VolumeKey(t, 0, c)), mean)
    assert verify(undisturbed).clean


def test_the_run_says_which_network_made_which_channel(undisturbed: Path, networks: dict) -> None:
    run, made = RunReader(undisturbed), {name: file.identity(path) for name, path in networks.items() if path}
    joint, single = made["Nuclei", "Membrane"], made["Vessels"]
    assert {one.sha256: one.channels for one in run.models} == {joint.sha256: (1,), single.sha256: (3,)}
    assert run.summary["restored_with"]["network"] == {
        "Nuclei+Membrane": {"name": joint.name, "sha256": joint.sha256},
        "Vessels": {"name": single.name, "sha256": single.sha256},
    }


@pytest.mark.parametrize("n_calls", [1, 4])
def test_interrupted_anywhere_it_goes_on_to_the_same_bytes(
    undisturbed: Path, movie: Path, networks: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_calls: int
) -> None:
    output = tmp_path / "out"
    interrupt_after(n_calls, monkeypatch, movie, output, model=networks, **SETTINGS)
    care_live.restore(movie, output, model=networks, **SETTINGS)
    assert files(output) == files(undisturbed)
    again = care_live.restore(movie, output, model=networks, **SETTINGS)
    assert (again.n_restored, again.n_before) == (0, N_TIMES)


def test_what_passes_through_alone_is_done_once_it_is_stored(movie: Path, networks: dict, tmp_path: Path) -> None:
    stack = tifffile.imread(movie)
    path = tmp_path / "two.ome.tif"
    tifffile.imwrite(path, stack[:, [0, 3]], ome=True, metadata={"axes": "TCZYX", "Channel": {"Name": ["BF", "GFP"]}})
    report = care_live.restore(path, tmp_path / "out", model={"GFP": networks["Vessels"]}, keep_raw=False, **SETTINGS)
    assert report.n_restored == N_TIMES
    assert RunReader(tmp_path / "out").keys("raw") == []
    again = care_live.restore(path, tmp_path / "out", model={"GFP": networks["Vessels"]}, keep_raw=False, **SETTINGS)
    assert (again.n_restored, again.n_before) == (0, N_TIMES)


def test_other_networks_are_never_mixed_in(undisturbed: Path, movie: Path, networks: dict) -> None:
    for other in (
        {"Vessels": networks["Vessels"]},
        networks["Vessels"],
        {**networks, "Brightfield": networks["Vessels"]},
    ):
        with pytest.raises(ConfigError, match=r"begun with network .* for Vessels, now .*: results are not mixed"):
            care_live.restore(movie, undisturbed, model=other, **SETTINGS)


def test_channels_that_pass_through_do_not_wait(undisturbed: Path) -> None:
    ended = care_live.open_run(undisturbed).ended
    assert ended is not None
    assert ended.is_complete


def test_a_channel_that_a_recording_lacks_is_an_error(movie: Path, networks: dict, tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="shall restore Cy5, but the channels are Brightfield, Nuclei"):
        care_live.restore(movie, tmp_path / "out", model={"Cy5": networks["Vessels"]}, **SETTINGS)
    with pytest.raises(ConfigError, match=r"every .* passes through"):
        open_networks({"Brightfield": None})


def test_the_command_ends_with_2_where_a_recording_lacks_a_channel_and_gives_no_other_advice(
    movie: Path, tmp_path: Path
) -> None:
    for more in ([], ["--dry-run"]):
        given = ["restore", str(movie), str(tmp_path / "a"), "--channel", "Cy5=forms", *more]
        done = CliRunner().invoke(cli, given)
        assert isinstance(done.exception, ConfigError) and done.exception.exit_code == 2
        assert "the channels are Brightfield" in str(done.exception) and not done.output


def test_of_a_shipped_network_that_is_hardly_better_than_a_filter_its_user_learns_what_to_do(
    movie: Path, tmp_path: Path
) -> None:
    given = ["restore", str(movie), str(tmp_path / "a"), "--channel", "Vessels=forms", "--dry-run", "--threads", "1"]
    output = CliRunner().invoke(cli, given, catch_exceptions=False).output
    assert "forms is worse than a filter" in output and "care-live train --from forms" in output
    assert "use more volumes" not in output


def test_a_tiff_has_the_channels_that_were_restored(movie: Path, networks: dict, tmp_path: Path) -> None:
    care_live.restore(movie, tmp_path / "out.ome.tif", model=networks, **SETTINGS)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as written:
        assert written.series[0].shape[:2] == (N_TIMES, 4)  # mean and scale of each
        np.testing.assert_array_equal(written.asarray()[:, 2], np.stack(alone(networks["Vessels"], movie, 3)))
        for made in (networks["Vessels"], networks["Nuclei", "Membrane"]):
            assert file.identity(made).sha256 in written.ome_metadata.partition("restored_with")[0]


def test_the_command_takes_networks_by_channel_and_those_of_a_config(
    undisturbed: Path, movie: Path, networks: dict, tmp_path: Path
) -> None:
    joint, single = networks["Nuclei", "Membrane"], networks["Vessels"]
    given = ["--channel", f"Nuclei+Membrane={joint}", "--channel", f"Vessels={single}", "--channel", "Brightfield=none"]
    common = ["--provider", "cpu", "--threads", "1"]
    done = CliRunner().invoke(cli, ["restore", str(movie), str(tmp_path / "a"), *given, *common])
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "a") == files(undisturbed)
    config = tmp_path / "run.toml"
    config.write_text(
        f"[[restore.channel]]\nname = ['Nuclei', 'Membrane']\nmodel = '{joint}'\n"
        f"[[restore.channel]]\nname = 'Vessels'\nmodel = '{single}'\n"
    )
    dry = CliRunner().invoke(cli, ["restore", str(movie), str(tmp_path / "b"), "--config", str(config), "--dry-run"])
    assert "1 data set, 3 time points" in dry.output
    wrong = CliRunner().invoke(cli, ["restore", str(movie), str(tmp_path / "b"), "--channel", "Vessels"])
    assert wrong.exit_code == 2
