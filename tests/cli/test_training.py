"""What `care-live train` says before it imports torch."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from care_live.cli.training import train_command


def test_images_that_do_not_exist_are_asked_wrongly(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    ended = CliRunner().invoke(train_command, ["--input", str(missing), "--noisy-only"])
    assert ended.exit_code == 2
    assert "nowhere does not exist" in " ".join(ended.output.split())
