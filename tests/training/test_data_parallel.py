"""One training in two processes, which torchrun starts; they talk by gloo, as there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from care_live.training.checkpoint import load_state
from care_live.training.data.loading import gather
from care_live.training.data_parallel import ALONE, joined
from care_live.training.fit import fit
from care_live.training.recipe import load
from tests.make.image_files import write_pairs

RECIPE = """
name = "together"
[network]
filters = 2
depth = 1
[data]
kind = "pairs"
inputs = ["low"]
target = "high"
[fit]
n_updates = 3
validate_every = 3
batch = 1
patch_px = [4, 16, 16]
n_validation_patches = 1
threads = 1
device = "cpu"
loss = "laplace"
"""


PROGRAM = """
from pathlib import Path
from care_live.training.recipe import load
from care_live.training.train import train
print("first" if train(load(Path("together.toml")), Path("run")).is_first else "other")
"""


@pytest.mark.slow
def test_two_processes_learn_together_and_one_of_them_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path, n=2, shape=(6, 32, 32))
    (tmp_path / "together.toml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    done = subprocess.run(launch, cwd=tmp_path, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["first", "other"]
    assert (tmp_path / "run" / "report.png").exists()
    monkeypatch.chdir(tmp_path)
    recipe = load(tmp_path / "together.toml")
    fit(recipe, gather(recipe), tmp_path / "alone")
    together, alone = (
        load_state(folder / "member-0" / "last.pt", None, torch.device("cpu"))[0].weights
        for folder in (tmp_path / "run", tmp_path / "alone")
    )
    assert together.keys() == alone.keys()
    kernels = [name for name, value in alone.items() if value.ndim > 2]
    assert not any(torch.equal(together[name], alone[name]) for name in kernels)  # the patches of both counted


def test_without_torchrun_a_process_is_alone() -> None:
    with joined(uses_cuda=False) as group:
        assert (group, group.is_first, group.shared(3)) == (ALONE, True, 3)
