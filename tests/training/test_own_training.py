"""From two folders and minutes to a network that says whether it is better than a filter."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner

from care_live.cli import cli
from care_live.model import file
from tests.make.image_files import write_pair
from tests.make.verdicts import card_verdict


def test_a_network_that_a_filter_beats_is_said_to_be_where_it_restores(tmp_path: Path) -> None:
    write_pair(tmp_path, (4, 96, 64))
    worse = card_verdict(raw_db=29.0, filter_db=30.0, network_db=29.0)
    shutil.copy(file.shipped(), tmp_path / "net.onnx")
    file.write_card(tmp_path / "net.onnx", file.read_card(tmp_path / "net.onnx").model_copy(update={"verdict": worse}))
    restored = CliRunner().invoke(
        cli,
        ["restore", str(tmp_path / "low" / "v0.tif"), str(tmp_path / "out.tif"), "--axes", "ZYX", "--model",
         str(tmp_path / "net.onnx")],
        catch_exceptions=False,
    )  # fmt: skip
    assert "worm3d is worse than a filter" in restored.output
