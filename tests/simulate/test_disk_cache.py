"""What takes long to compute is computed once, and a broken cache costs only time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from care_live.simulate.disk_cache import folder, kept


class Slow:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self) -> NDArray[np.float32]:
        self.n_calls += 1
        return np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARE_LIVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_same_words_are_computed_once(cache: Path) -> None:
    slow = Slow()
    first, again, other = kept("a", slow), kept("a", slow), kept("b", slow)
    assert slow.n_calls == 2
    assert (first == again).all()
    assert (first == other).all()
    assert again.dtype == np.float32
    assert not list(cache.rglob("*.part"))


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{"])
def test_a_broken_file_is_computed_again(cache: Path, content: bytes) -> None:
    slow = Slow()
    kept("a", slow)
    [path] = cache.rglob("*.npy")
    path.write_bytes(content)
    assert (kept("a", slow) == slow()).all()
    assert (np.load(path) == slow()).all()


def test_a_folder_that_cannot_be_made_costs_only_time(cache: Path) -> None:
    cache.write_text("a file")
    slow = Slow()
    assert (kept("a", slow) == kept("a", slow)).all()
    assert slow.n_calls == 2


def test_no_test_writes_into_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert tmp_path_factory.getbasetemp() in folder().parents
