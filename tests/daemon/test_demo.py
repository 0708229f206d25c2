"""The demo: a config of the virtual microscope only, and figures, lights and a picture of the run that it made."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from care_live.config import Config, FolderConfig, VirtualConfig
from care_live.daemon import demo
from care_live.daemon.run_metrics import Tally
from care_live.errors import ConfigError
from care_live.images import VolumeKey, read_only
from care_live.source.virtual import truth
from care_live.verdict import Trust
from tests.make.stored import make_plan, make_restored, make_volume, open_writer

SHAPE = (8, 48, 48)
SMALL = Config.model_validate(
    {"source": {"kind": "virtual", "shape_px": SHAPE[1:], "acquisition": {"z_planes": SHAPE[0]}}}
)
DONE = Tally().status()


def test_the_config_says_how_many_volumes_and_where_and_keeps_the_rest() -> None:
    base = Config.model_validate({"source": SMALL.source, "restore": {"threads": 3}})
    made = demo.config(Path("there"), 7, base)
    assert isinstance(made.source, VirtualConfig)
    assert (made.source.acquisition.time_points, made.source.shape_px) == (7, SHAPE[1:])
    assert (made.store.directory, made.restore.threads, made.restore.lies) == (Path("there"), 3, False)
    assert demo.config(Path("there"), 7, base, lies=True).restore.lies
    assert demo.config(Path("there"), 7, demo.config(Path("there"), 1, base, lies=True)).restore.lies


def test_without_a_config_it_runs_the_virtual_microscope() -> None:
    made = demo.config(Path("there"), 2)
    assert isinstance(made.source, VirtualConfig) and made.source.acquisition.interval_s == 3.0


def test_a_source_without_a_truth_is_refused() -> None:
    base = Config(source=FolderConfig(directory=Path("data")))
    with pytest.raises(ConfigError, match="the config has 'folder'"):
        demo.config(Path("there"), 2, base)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of two volumes whose restoration is the truth; the second one was called a lie."""
    config = demo.config(tmp_path_factory.mktemp("demo"), 2, SMALL)
    red = Trust("red", ("the restoration shows something that the camera did not count",))
    with contextlib.closing(open_writer(config.store.directory, make_plan(n_t=2, shape=SHAPE))) as writer:
        for t in range(2):
            assert isinstance(config.source, VirtualConfig)
            volume = make_volume(VolumeKey(t), SHAPE)
            mean = truth(config.source, volume.key)
            writer.write_raw(volume)
            maps = {"mean": read_only(mean), "laplace_scale": read_only(np.ones(SHAPE, np.float32))}
            writer.write_restored(make_restored(volume, maps=maps, trust=red if t == 1 else Trust("green", ())))
    return config


def test_the_scores_are_those_against_the_truth(recorded: Config) -> None:
    figures = demo.figures(recorded, "run", DONE)
    assert figures["psnr_restored_db"] > 60 > figures["psnr_raw_db"], "the restoration is the truth, rounded"
    assert figures["ssim_restored"] == pytest.approx(1.0, abs=1e-3) and figures["ssim_raw"] < 0.9
    assert figures["restored"] == 0 and "warnings" not in figures, "the status has more than a demo says"


def test_a_run_without_restored_volumes_has_no_score_and_no_picture(tmp_path: Path) -> None:
    config = demo.config(tmp_path, 1, SMALL)
    with contextlib.closing(open_writer(tmp_path, make_plan(n_t=1, shape=SHAPE))) as writer:
        writer.write_raw(make_volume(VolumeKey(0), SHAPE))
    assert demo.figures(config, "run", DONE)["psnr_restored_db"] is None
    with pytest.raises(ConfigError, match="no restored volume"):
        demo.draw(config, "run", tmp_path / "a.png")


def test_only_red_volumes_are_named(recorded: Config) -> None:
    (line,) = demo.red_lights(recorded, "run")
    assert line.startswith("t=1: ") and "did not count" in line


def test_a_picture_that_cannot_be_written_is_an_error_of_the_person(recorded: Config, tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="the picture needs Pillow")
    demo.draw(recorded, "run", tmp_path / "new" / "demo.png")
    assert (tmp_path / "new" / "demo.png").stat().st_size > 1000
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        demo.draw(recorded, "run", tmp_path / "file" / "demo.png")
