"""From the first exposure to the verdict: everything real, and small."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from care_live.cli import cli
from care_live.config import Config, load
from care_live.daemon.health import Health
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import ConfigError
from care_live.model import file
from care_live.prepare.exposed_pairs import PairFolder, split
from care_live.prepare.gate import GatedVolume, GateVerdict
from care_live.prepare.prepared_network import (
    PreparationWatch,
    name_of_network,
    network_of,
    plan_of,
    prepare,
    recipe_of,
    start_of,
    swaps_for,
)
from tests.make.networks import save_network
from tests.prepare.conftest import config, electrons, exposed

WORM = file.read_card(file.shipped())


def pairs_in(folder: Path, settings: Config, *, light: float = 30.0) -> PairFolder:
    """Put all pairs into a folder, as if they had been exposed."""
    there, plan = PairFolder(folder / "exposed"), plan_of(settings)
    for t in range(plan.n_pairs):
        specimen = electrons(t)
        there.put(f"t{t:04d}-p000", exposed(specimen, seed=t), exposed(specimen, light=light, seed=t + 9))
    return there


def test_training_knows_what_the_microscope_knows(tmp_path: Path) -> None:
    settings = config(prepare={"pairs": 4, "minutes": 2.0, "threads": 1, "start": "nothing"})
    there, said = pairs_in(tmp_path, settings), []
    recipe = recipe_of(
        settings,
        plan_of(settings),
        split(tmp_path, there, there.names, 2),
        name=name_of_network(Path("today: worm 3")),
        tell=said.append,
    )
    assert (recipe.name, recipe.fit.minutes, recipe.fit.threads, recipe.fit.device) == ("today--worm-3", 2.0, 1, "cpu")
    assert recipe.data.kind == "pairs"
    assert recipe.card.channels_in == WORM.channels_in  # so that a running daemon may take it
    assert said == ["training begins with random weights"]


def test_two_dim_exposures_are_learnt_from_as_such(tmp_path: Path) -> None:
    settings = config(prepare={"pairs": 4, "second": "dim", "start": "forms"})
    there = pairs_in(tmp_path, settings, light=1.0)
    recipe = recipe_of(
        settings, plan_of(settings), split(tmp_path, there, there.names, 2), name="dim", tell=lambda _: None
    )
    assert recipe.data.kind == "exposures"
    assert recipe.network.filters == 16  # as forms has them


def test_a_network_of_an_older_kind_or_of_single_planes_is_no_start(tmp_path: Path) -> None:
    settings = config()
    there = pairs_in(tmp_path, settings)
    parts = split(tmp_path, there, there.names, 2)
    assert start_of(settings, plan_of(settings), parts) == Path("forms")
    flat = config(restore={"model": file.shipped("live2d")})
    assert start_of(flat, plan_of(flat), parts) == Path("forms")


def test_the_plan_is_said_and_nothing_is_exposed(tmp_path: Path) -> None:
    (tmp_path / "microscope.toml").write_text("[prepare]\npairs = 4\n", encoding="utf-8")
    command = ["prepare", str(tmp_path / "microscope.toml"), "--plan", "--folder", str(tmp_path / "today")]
    said = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "the light of 124 volumes of the run" in said.output
    assert not (tmp_path / "today").exists()


def test_of_several_networks_it_is_not_known_which_one_is_meant() -> None:
    """The network of a channel is the one to compare with, not restore.model."""
    flat = {"name": "DAPI", "model": "live2d"}
    assert network_of(config(restore={"channel": [flat, {"name": "FITC", "model": "none"}]})) == file.shipped("live2d")
    with pytest.raises(ConfigError, match="2 networks restore the run of this config: prepare makes one at a time"):
        plan_of(config(restore={"channel": [flat, {"name": "FITC"}]}))


def test_a_network_that_reads_earlier_time_points_has_no_fair_gate(tmp_path: Path) -> None:
    model = save_network(tmp_path / "past.onnx", past=2)
    with pytest.raises(ConfigError, match="reads 2 earlier time points, which the pairs of prepare do not have"):
        network_of(config(restore={"model": str(model)}))


def test_where_live_is_shown_the_quick_network_is_the_one_to_compare_with() -> None:
    live = {"kind": "live", "microscope": {"kind": "virtual"}}
    assert network_of(config(source=live)) == file.shipped("live2d")


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        (["--channel", "FITC"], "each plane twice, FITC 10 ms"),
        ([], "2 networks restore this run: name a channel with --channel (DAPI; FITC)"),
        (["--channel", "Cy5"], "no network restores a channel 'Cy5'"),
    ],
    ids=["named", "not named", "passes through"],
)
def test_of_several_networks_that_of_a_channel_is_prepared(tmp_path: Path, channel: list[str], words: str) -> None:
    configured = Path(__file__).parents[2] / "configs" / "two_networks.toml"
    folder = tmp_path / "today"
    command = ["prepare", str(configured), "--plan", "--folder", str(folder), *channel]
    said = CliRunner().invoke(cli, command)
    assert words in said.output + str(said.exception)


def test_a_network_that_is_there_is_not_trained_again_and_that_is_said(tmp_path: Path) -> None:
    settings, said = config(), []
    pairs_in(tmp_path, settings)
    (tmp_path / f"{name_of_network(tmp_path)}.onnx").write_bytes(file.shipped("forms").read_bytes())
    prepare(settings, tmp_path, PreparationWatch(tell=said.append))
    assert f"is trained already. To train anew on these pairs, delete it and {tmp_path / 'training'}" in said[0]


def test_results_of_another_kind_are_not_swapped_in() -> None:
    assert swaps_for(WORM, WORM)
    assert not swaps_for(WORM.model_copy(update={"heads": ("mean",)}), WORM)


def test_a_preparation_of_an_older_version_goes_on() -> None:
    """A setting that it did not know has its default."""
    plan = plan_of(config())
    said = plan.microscope.model_dump(mode="json")
    del said["acquisition"]["reference"]["presets"]
    assert plan.is_of(said)
    assert not plan.is_of(said | {"laser_power": 3.0})
    assert not plan.is_of({"kind": "unknown"})


def test_another_preparation_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        ConfigError, match="holds pairs that were exposed with other settings: name another folder with --folder"
    ):
        prepare(config(), tmp_path)


@pytest.mark.slow
@pytest.mark.mm
@pytest.mark.timeout(900)
def test_a_new_user_prepares_a_network_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    pytest.importorskip("pymmcore_plus")
    toml, folder = tmp_path / "microscope.toml", tmp_path / "today"
    toml.write_text(
        '[source]\nkind = "virtual"\nshape_px = [64, 64]\nlaser_power = 10.0\nspecimen_step_s = 60.0\n'
        "[source.acquisition]\nz_planes = 8\nchannels = [{exposure_ms = 1.0}]\n"
        "[prepare]\npairs = 4\nminutes = 0.02\nthreads = 1\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "care_live", "prepare", "-q", str(toml), "--folder", str(folder)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert f"verdict: {verdict['verdict']}" in first.stdout, first.stderr
    assert first.returncode == (0 if verdict["is_better"] else 1)
    assert ("care-live swap" in first.stdout) == verdict["is_better"]
    card = file.read_card(folder / "today.onnx")
    assert (card.voxel_size_um, card.training.exposure_ms) == ((1.0, 0.5, 0.5), (1.0, 1.0))
    dim, bright = PairFolder(folder / "exposed").read("t0001-p000")
    assert 15 < np.ptp(np.percentile(bright, (1, 99))) / np.ptp(np.percentile(dim, (1, 99))) < 45
    assert np.corrcoef(dim.ravel(), bright.ravel())[0, 1] > 0.5
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]  # nothing is left half
    exposed_at = (folder / "exposed" / "first" / "t0000-p000.tif").stat().st_mtime_ns
    again = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert again.returncode == first.returncode, again.stderr
    assert (folder / "exposed" / "first" / "t0000-p000.tif").stat().st_mtime_ns == exposed_at
    assert "training begins" not in again.stdout  # it was over, and so was the comparison
    assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("outcome", "code", "last"),
    [
        ("took over; it differs by 1 %", 0, "took over; it differs by 1 %"),
        ("refused: it is too slow", 1, "the run goes on with worm3d: refused: it is too slow"),
    ],
    ids=["taken", "refused"],
)
def test_a_better_network_is_given_to_the_daemon_that_runs(tmp_path: Path, outcome: str, code: int, last: str) -> None:
    given: list[object] = []
    states = ["loading it", "trying it", outcome]

    def swap(wanted: object) -> str:
        given.append(wanted)
        return "loading it"

    def status() -> DaemonStatus:
        return DaemonStatus(model="worm3d", swap=states.pop(0) if len(states) > 1 else states[0])

    health, folder = Health("127.0.0.1:0", status, lambda: True, {"/swap": swap}), tmp_path / "today"
    toml = tmp_path / "microscope.toml"
    toml.write_text(f'[daemon]\nstatus_bind = "{health.address}"\n[prepare]\npairs = 4\n', encoding="utf-8")
    there = pairs_in(folder, load(toml))
    assert len(there.names) == 4
    shutil.copy(file.shipped(), folder / "today.onnx")
    volume = GatedVolume("t0003-p000", raw_db=20.0, filter_db=25.0, before_db=26.0, after_db=27.0)
    same = file.identity(file.shipped()).sha256
    verdict = {"networks": [same, same], **asdict(GateVerdict("worm3d", "bright", (volume,)))}
    (folder / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    health.start()
    try:
        done = CliRunner().invoke(cli, ["prepare", "-q", str(toml), "--folder", str(folder), "--swap"])
    finally:
        health.stop()
    assert done.exit_code == code, done.output
    assert "verdict: better than worm3d by 1.0 dB" in done.output
    assert "loading it\n" in done.output
    assert last in f"{done.output}{done.exception}"
    assert given == [{"model": str((folder / "today.onnx").resolve()), "channel": ""}]
