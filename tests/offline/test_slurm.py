"""The script of cluster.md on a real Slurm: a controller, a node and munge, all on this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

import care_live
from care_live.store import verify
from tests.make.networks import noisy, save_network
from tests.make.runs import free_ports

pytestmark = pytest.mark.slow

DAEMONS = ("munged", "slurmctld", "slurmd")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = re.search(r"```\n(#!/bin/bash\n.*?)```", (ROOT / "care_live/offline/cluster.md").read_text(), re.DOTALL)
START_S = 40.0
JOB_S = 240.0


def path_of(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")


class Slurm:
    """A cluster of one node with eight CPUs, whatever this machine has; everything lies in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }

    def start(self) -> None:
        key, log, munge = self._folder / "munge.key", self._folder / "munge.log", self._folder / "munge"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        (self._folder / "slurm.conf").write_text(self._settings())
        state = (f"--pid-file={munge}.pid", f"--log-file={log}", f"--seed-file={munge}.seed", f"--key-file={key}")
        self._run("munged", "--foreground", "--force", f"--socket={munge}.socket", *state)
        self._await(lambda: Path(f"{munge}.socket").exists())
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D", "-N", socket.gethostname())
        self._await(lambda: "idle" in self.ask("sinfo", "--noheader"))

    def _await(self, started: Callable[[], bool]) -> None:
        """Wait for a daemon; a machine on which Slurm itself does not start has no cluster to try the script on."""
        deadline = time.monotonic() + START_S
        while not started():
            if time.monotonic() > deadline:
                pytest.skip(f"Slurm does not start on this machine: {self._newest_words()}")
            time.sleep(0.05)

    def _newest_words(self) -> str:
        words = [log.read_text(errors="replace").strip()[-200:] for log in self._folder.glob("*.out")]
        return " | ".join(words)

    def ask(self, *command: object, cwd: Path | None = None) -> str:
        done = subprocess.run(
            list(map(str, command)), env=self.environment, cwd=cwd, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def close(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)

    def _run(self, daemon: str, *arguments: str) -> None:
        with (self._folder / f"{daemon}.out").open("wb") as log:
            command = [str(path_of(daemon)), *arguments]
            self._running.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def _settings(self) -> str:
        import pwd  # not on Windows, where there is no Slurm

        user, host = pwd.getpwuid(os.getuid()).pw_name, socket.gethostname()
        control, node = free_ports(2)
        for name in ("state", "spool"):
            (self._folder / name).mkdir()
        return f"""
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={control}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={self._folder}/munge.socket
CredType=cred/munge
StateSaveLocation={self._folder}/state
SlurmdSpoolDir={self._folder}/spool
SlurmctldPidFile={self._folder}/slurmctld.pid
SlurmdPidFile={self._folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
SchedulerParameters=sched_interval=1
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    if missing := [name for name in (*DAEMONS, "sbatch") if path_of(name) is None]:
        pytest.skip(f"no Slurm on this machine ({missing[0]} is missing): apt-get install slurm-wlm munge")
    found = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.close()


def test_the_documented_script_restores_an_archive(slurm: Slurm, tmp_path: Path) -> None:
    assert SCRIPT is not None
    (tmp_path / "job.sh").write_text(SCRIPT[1])
    model, data = save_network(tmp_path / "net.onnx", filters=2), tmp_path / "movie.ome.tif"
    movie = np.stack([noisy((3, 16, 18), seed=t) * (t + 1) for t in range(6)])
    tifffile.imwrite(data, movie, ome=True, metadata={"axes": "TZYX"})
    settings = {"model": model, "progress": False}
    care_live.restore(data, tmp_path / "alone", threads=1, **settings)
    slurm.environment |= {"IN": str(data), "OUT": str(tmp_path / "out"), "NETWORK": str(model)}
    options = ("--ntasks=4", "--cpus-per-task=1", "--wait", "--output=job.log")
    said = slurm.ask("timeout", int(JOB_S), "sbatch", *options, "job.sh", cwd=tmp_path)
    log = (tmp_path / "job.log").read_text() if (tmp_path / "job.log").exists() else "the job wrote nothing"
    assert "6 time points restored" in log, said + log
    ours, alone = care_live.open_run(tmp_path / "out"), care_live.open_run(tmp_path / "alone")
    assert len(ours.keys("restored")) == 6
    for key in alone.keys("restored"):  # one may have chosen another provider, which gives other last bits
        np.testing.assert_allclose(ours.read("restored", key), alone.read("restored", key), rtol=1e-3, atol=0.1)
    assert verify(tmp_path / "out").clean
