"""What reads files from strangers may hang, crash or ask for all memory; the command still ends, in one line."""

from __future__ import annotations

import sys

import pytest

from care_live.errors import ConfigError, ModelError
from care_live.model import confined


def evil(code: str, *, limit_s: float = 60.0) -> confined.Said:
    """Run a line of Python as a reader."""
    return confined.run("timeit", ["-n1", "-r1", code], "net.h5", limit_s=limit_s, limit_mib=512)


def test_a_reader_that_hangs_is_ended() -> None:
    with pytest.raises(ModelError, match=r"^net.h5 was not read within 2 s: it is damaged$"):
        evil("while True: pass", limit_s=2.0)


def test_a_reader_that_crashes_is_reported() -> None:
    with pytest.raises(ModelError, match=r"^net.h5 crashed its reader \(exit code -6\): it is damaged$"):
        evil("import os; os.abort()")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to so much memory")
def test_a_reader_gets_no_more_memory_than_it_may() -> None:
    said = evil("from care_live.model import confined; confined.confine(); bytearray(2**30)")
    assert said.exit_code == 1
    assert said.complaint == "MemoryError"
    with pytest.raises(ModelError, match="MemoryError"):
        confined.raise_again(said)


def test_an_error_comes_back_as_what_it_was() -> None:
    with pytest.raises(ConfigError, match=r"^fill it in$"):
        confined.raise_again(confined.Said(b"", 2, "care-live: fill it in"), "care-live: ")
