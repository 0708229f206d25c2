"""Products of matrices take one thread in the processes of care_live, and as many as before in those of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from care_live.blas_threads import one_blas_thread

_THREADS = """
import os, sys
from threadpoolctl import threadpool_info
from care_live.blas_threads import one_blas_thread
{before}
with one_blas_thread():
    import numpy
print([one["num_threads"] for one in threadpool_info() if one["internal_api"] == "openblas"])
assert "OPENBLAS_NUM_THREADS" not in os.environ or {is_set}
"""
_RESTORE = """
import sys
from threadpoolctl import threadpool_info
from care_live.cli import main
main(["restore", sys.argv[1], sys.argv[2], "--axes", "ZYX"])
print([one["num_threads"] for one in threadpool_info() if one["internal_api"] == "openblas"])
"""


def printed(script: str, *arguments: str, **environment: str) -> str:
    """Run a script in a process of its own and return its last line."""
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=clean | environment)
    return ran.stdout.splitlines()[-1]


def test_numpy_that_is_imported_first_takes_one_thread() -> None:
    assert printed(_THREADS.format(before="", is_set=False)) in {"[1]", "[]"}


def test_what_a_person_has_set_stays() -> None:
    seen = printed(_THREADS.format(before="", is_set=True), OPENBLAS_NUM_THREADS="2")
    assert seen in {"[2]", "[]"} or os.cpu_count() == 1


@pytest.mark.skipif(os.cpu_count() == 1, reason="there is one thread anyway")
def test_a_process_that_has_numpy_keeps_its_threads() -> None:
    assert printed(_THREADS.format(before="import numpy", is_set=False)) != "[1]"


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with one_blas_thread():
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_the_command_that_restores_files_takes_one_thread_for_products(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(95, 140, (8, 64, 64)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", stack)
    assert printed(_RESTORE, str(tmp_path / "in.tif"), str(tmp_path / "out.tif")) in {"[1]", "[]"}
