"""Which data sets the names of a command mean, and where the result of each goes."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

import care_live
from care_live.errors import ConfigError
from care_live.offline.data_sets import plan_archive
from tests.offline.results import SETTINGS, files


def test_bad_inputs_are_listed_and_do_not_stop_the_others(
    copied: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    cut = copied / "a/one.ome.tif"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    (copied / "b.tif").write_text("no image")
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored == 4
    assert [line.split(":")[0] for line in report.problems] == [str(cut), str(copied / "b.tif")]
    cut.write_bytes(whole)
    (copied / "b.tif").unlink()
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    assert (report.n_restored, report.n_before, report.problems) == (3, 4, [])
    assert {name: content for name, content in files(tmp_path / "out").items() if "/c/" in name} == {
        name: content for name, content in undisturbed.items() if "/c/" in name
    }


def test_patterns_name_results_from_their_wildcard_on(data: Path, model: Path, tmp_path: Path) -> None:
    report = care_live.restore(str(data / "*/o*.tif"), tmp_path / "out", model=model, **SETTINGS)
    assert report.n_restored == 3
    assert (tmp_path / "out/a/one/journal.jsonl").is_file()


@pytest.mark.parametrize(
    ("inputs", "out", "said"),
    [
        (["none"], "out", "no data set at"),
        (["*.nd2"], "out", "no data set at"),
        (["a/one.ome.tif", "twin/one.tif"], "out", "would both become one"),
        (["."], "a/out", "or lies inside it: write somewhere else"),
        (["."], ".", "is the input"),
        (["a", "three.ome.tif"], "three.ome.tif", "is a file, but several"),
        (["three.ome.tif"], "out.png", "would be no .png: end its name with .tif"),
    ],
    ids=["absent", "pattern", "twins", "inside", "itself", "file", "picture"],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    copied: Path, model: Path, inputs: list[str], out: str, said: str
) -> None:
    (copied / "twin").mkdir()
    (copied / "twin/one.tif").write_bytes((copied / "three.ome.tif").read_bytes())
    before = sorted(copied.rglob("*"))
    with pytest.raises(ConfigError, match=said):
        care_live.restore([copied / one for one in inputs], copied / out, model=model, **SETTINGS)
    assert sorted(copied.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows makes links for administrators only")
def test_links_in_a_circle_are_not_followed_and_an_unreadable_folder_is_one_problem(
    copied: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copied / "a/again").symlink_to(copied)
    (copied / "itself").symlink_to(copied / "itself")
    locked = copied / "lost+found"
    locked.mkdir()
    look = os.scandir

    def refuses(folder: str | Path) -> object:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", refuses)
    plan = plan_archive([copied], tmp_path / "out", axes=None, keep_raw=True, as_tiff=False)
    (problem,) = [entry for entry in plan.entries if "Permission denied" in entry.error]
    assert problem.data_set.path == locked
    names = [entry.data_set.name.as_posix() for entry in plan.entries if entry is not problem]
    assert names and not any("again" in name or "itself" in name for name in names)


def test_what_is_no_image_by_its_name_is_passed_over_unless_it_is_named_itself(
    data: Path, tmp_path: Path, model: Path
) -> None:
    (tmp_path / "LICENSE.txt").write_text("no image")
    (tmp_path / "three.ome.tif").write_bytes((data / "three.ome.tif").read_bytes())
    (tmp_path / ".hidden.txt").write_text("no image")
    for given in (tmp_path, str(tmp_path / "*")):
        plan = plan_archive([given], tmp_path.parent / "out", axes=None, keep_raw=True, as_tiff=False)
        assert [entry.error for entry in plan.entries] == [""]
        assert plan.remarks == ["passed over, by their names no images: 1 file (LICENSE.txt)"]
    report = care_live.restore(str(tmp_path / "*"), tmp_path.parent / "out", model=model, **SETTINGS)
    assert (report.problems, report.remarks) == ([], plan.remarks)
    named = [tmp_path / "LICENSE.txt", tmp_path / "three.ome.tif"]
    plan = plan_archive(named, tmp_path.parent / "other", axes=None, keep_raw=True, as_tiff=False)
    assert [bool(entry.error) for entry in plan.entries] == [True, False]
    with pytest.raises(ConfigError, match="there is no data set at"):
        plan_archive([str(tmp_path / "*.txt")], tmp_path.parent / "third", axes=None, keep_raw=True, as_tiff=False)


@pytest.mark.parametrize("name", ["out", "results/today"])
def test_a_pattern_does_not_match_what_the_command_before_has_made(copied: Path, model: Path, name: str) -> None:
    out = copied / name
    out.parent.mkdir(exist_ok=True)
    first = care_live.restore(str(copied / "*"), out, model=model, **SETTINGS)
    made = files(out)
    again = care_live.restore(str(copied / "*"), out, model=model, **SETTINGS)
    assert (again.n_before, again.n_restored, again.remarks) == (first.n_restored, 0, [])
    by_a_shell = [copied / "a", out, copied / "three.ome.tif"]
    assert care_live.restore(by_a_shell, out, model=model, **SETTINGS).n_restored == 5, "results of a have other names"
    assert made.items() <= files(out).items()


def test_a_result_in_which_another_one_would_lie_is_a_problem_and_no_other(
    copied: Path, model: Path, tmp_path: Path
) -> None:
    (copied / "a.tif").write_bytes((copied / "three.ome.tif").read_bytes())
    report = care_live.restore(copied, tmp_path / "out", model=model, **SETTINGS)
    (problem,) = report.problems
    assert problem.startswith(f"{copied / 'a.tif'}: its result would be") and "--tiff" in problem
    assert report.n_restored == 7
    plan = plan_archive([copied], tmp_path / "tiffs", axes=None, keep_raw=True, as_tiff=True)
    assert not any(entry.error for entry in plan.entries)
