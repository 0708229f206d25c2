"""What is said of a folder that gets files, and no image among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_live.config import FolderConfig
from care_live.source.folder_notice import FolderNotice
from care_live.source.follower import Follower


@pytest.mark.parametrize("name", ["notes.txt", "worm_1/metadata.txt"])
def test_files_without_an_image_are_named_once_within_ten_seconds_at_every_verbosity(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    now = [100.0]
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=lambda: now[0])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    for second in range(30):
        now[0] = 100.0 + second
        assert follower.next_event(0.0) is None
        said = [record for record in caplog.records if record.levelname == "WARNING"]
        assert len(said) == (second >= 5)
    follower.close()
    assert f"waiting for images in {tmp_path}" in said[0].getMessage()
    assert str(Path(name)) in said[0].getMessage()


@pytest.mark.parametrize("names", [("NDTiff.index",), ("NDTiff.index", "worm_1_NDTiffStack.tif")])
def test_a_data_set_whose_first_image_comes_late_is_not_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, ...]
) -> None:
    now = [100.0]
    follower = Follower(FolderConfig(directory=tmp_path), run_id="run", clock=lambda: now[0])
    (tmp_path / "worm_1").mkdir()
    for name in names:
        (tmp_path / "worm_1" / name).touch()
    for second in range(30):
        now[0] = 100.0 + second
        assert follower.next_event(0.0) is None
    follower.close()
    assert not caplog.records


def test_files_that_end_in_numbers_are_named_a_few_times_at_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notice = FolderNotice(tmp_path, set())
    for second in range(60):
        (tmp_path / f"a.{second:03}").touch()
        notice.look(float(second))
    assert len(caplog.records) == 3


def test_another_kind_of_file_is_named_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notice = FolderNotice(tmp_path, set())
    for n in range(5):
        (tmp_path / f"{n}.txt").touch()
    notice.look(0.0)
    notice.look(5.0)
    (tmp_path / "more.txt").touch()
    (tmp_path / "stage.csv").touch()
    notice.look(6.0)
    notice.look(11.0)
    first, second = [record.getMessage() for record in caplog.records]
    assert "(0.txt, 1.txt, 2.txt and 2 more)" in first and "(stage.csv)" in second


def test_images_and_what_was_there_before_are_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "yesterday").mkdir()
    (tmp_path / "yesterday" / "metadata.txt").touch()
    for name in (".DS_Store", "worm.tif"):
        (tmp_path / name).touch()
    notice = FolderNotice(tmp_path, {tmp_path / "yesterday"})
    notice.look(0.0)
    notice.look(60.0)
    assert not caplog.records
