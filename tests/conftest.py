"""What every test shares: the data folder, a cache of their own, and the law that no thread outlives its test."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # laws are not timed
settings.load_profile("any machine")

_ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CARE_LIVE_DATA", _ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; tests that need one skip by name where it is absent."""
    return DATA


def need_data(name: str) -> Path:
    """Return a data set's path, or skip the test by its name (fail where CARE_LIVE_REQUIRE_DATA is set)."""
    path = DATA / name
    if not path.exists():
        if os.environ.get("CARE_LIVE_REQUIRE_DATA"):
            pytest.fail(f"data set {name} is required but {path} does not exist")
        pytest.skip(f"data set {name} is not on this machine ({path}); set CARE_LIVE_DATA")
    return path


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is slow to compute for one session of tests: in no user's folder, and never an older version's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARE_LIVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Take back what a command run in this process made of the package's log."""
    ours = logging.getLogger("care_live")
    level, handlers, propagates = ours.level, list(ours.handlers), ours.propagate
    yield
    ours.setLevel(level)
    ours.handlers[:], ours.propagate = handlers, propagates


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 60.0
    while extra := [thread for thread in threading.enumerate() if thread not in before and not _of_a_library(thread)]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {[thread.name for thread in extra]}")
        time.sleep(0.01)


def _of_a_library(thread: threading.Thread) -> bool:
    """Tell whether a package keeps this thread for the whole process.

    pyzmq keeps one for arrays sent without a copy, zarr and fsspec an event loop each, and these loops' workers.
    """
    return type(thread).__module__ == "zmq.utils.garbage" or thread.name.startswith(("zarr_io", "asyncio_", "fsspecIO"))
