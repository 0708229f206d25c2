"""One inference process: how it starts, why it does not, and what it costs its parent."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from care_live.errors import ConfigError, ModelError
from care_live.percentiles import Span
from care_live.restore.ranges import LearntRange
from care_live.worker.client import RestoreProcess
from tests.make.inference import planes_of, settings
from tests.make.networks import noisy, volume


def n_open_files() -> int:
    ours = psutil.Process()
    return ours.num_handles() if sys.platform == "win32" else ours.num_fds()


def test_results_that_are_kept_cost_no_open_files(process: RestoreProcess) -> None:
    process.learn({(0, 9): LearntRange(Span(90.0, 500.0), 3)})
    stacks = [volume(noisy((6, 20, 22), seed=t % 2), t=t, c=9) for t in range(150)]
    before = n_open_files()
    kept = [process.restore([stack])[0] for stack in stacks]
    assert n_open_files() < before + len(kept)  # each would cost two in shared memory
    for ours, same in zip(kept, kept[2:], strict=False):  # those in shared memory, and those that moved out
        assert (ours.mean == same.mean).all()
        assert "laplace_scale" in ours.maps
        assert (ours.maps["laplace_scale"] == same.maps["laplace_scale"]).all()
        assert not same.mean.flags.writeable


def test_start_tells_the_reason_of_the_child(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="not an ONNX file"):
        RestoreProcess(settings(tmp_path / "no.onnx")).start()


def test_start_refuses_a_provider_that_is_not_there(network: Path) -> None:
    config = settings(network).model_copy(update={"provider": "tensorrt"})
    with pytest.raises(ConfigError, match="tensorrt"):
        RestoreProcess(config).start()


def test_hints_never_block_while_inference_hangs(process: RestoreProcess) -> None:
    stacks = [volume(noisy((40, 16, 16), seed=t), t=t) for t in range(30)]
    process.restore([volume(noisy((6, 20, 22)))])
    assert process.supervisor.process_id is not None
    os.kill(process.supervisor.process_id, signal.SIGSTOP)
    begun = time.monotonic()
    for stack in stacks:
        opened, planes = planes_of(stack)
        process.arrivals.begin(opened)
        for placed in planes:
            process.arrivals.place(placed)
    assert time.monotonic() - begun < 20.0  # a hint that waited would wait for as long as the process is stopped
    os.kill(process.supervisor.process_id, signal.SIGCONT)
    assert len(process.restore([stacks[-1]])) == 1
