"""One page on a run: its numbers are the journal's, its pictures are inside, and no text of a run becomes markup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from care_live.cli import cli
from care_live.errors import StoreError
from care_live.viewer import run_report
from tests.store.kept import FINISHED


def test_the_command_reports_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    out = tmp_path / "kept.html"
    done = CliRunner().invoke(cli, ["report", str(FINISHED), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "finished" in out.read_text(encoding="utf-8")


def test_a_run_that_is_the_present_folder_has_its_report_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(FINISHED, tmp_path / "worm")
    monkeypatch.chdir(run)
    done = CliRunner().invoke(cli, ["report", "."])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "worm-report.html").is_file()


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        run_report.write(tmp_path, tmp_path / "page.html")
