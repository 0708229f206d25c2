"""Dask over TLS, with certificates made here: files and a live run go to a scheduler that takes no other connection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from care_live.store import RunReader
from tests.make.dask_cluster import WAIT_S, Cluster
from tests.make.networks import save_network
from tests.make.runs import movie, replay, settings
from tests.offline.results import files
from tests.test_cli import toml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates"),
]
N_TIMES = 4


def certificate(folder: Path, name: str) -> dict[str, str]:
    """Make a certificate that is its own authority; return Dask's configuration with it, as environment."""
    cert, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subject = ("-subj", "/CN=care-live-test", "-keyout", key, "-out", cert)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *map(str, subject)]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)
    ends = {
        f"{end}__{what}": path
        for end in ("SCHEDULER", "WORKER", "CLIENT")
        for what, path in (("CERT", cert), ("KEY", key))
    }
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in (ends | {"CA_FILE": cert}).items()}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of a scheduler, and the environment of those that may connect."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    folder = tmp_path_factory.mktemp("tls")
    environment = certificate(folder, "ours")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        cluster = Cluster(folder, n_workers=1, protocol="tls")
    try:
        yield json.loads(cluster.file.read_text())["address"], environment
    finally:
        cluster.close()


def care_live(folder: Path, environment: Mapping[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "care_live", *map(str, arguments)]
    known = os.environ | environment | {"PYTHONPATH": root}
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_files_are_restored_over_tls_as_by_one_process(secured: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = secured
    assert address.startswith("tls://")
    movie(tmp_path / "movie.tif", times=N_TIMES)
    options = ("--model", save_network(tmp_path / "net.onnx", filters=2), "--provider", "cpu", "--threads", 1)
    for output, workers in (("alone", ()), ("shared", ("--scheduler", address))):
        command = ("restore", "movie.tif", output, "--axes", "TZYX", *options, *workers)
        done = care_live(tmp_path, environment, *command)
        assert done.returncode == 0, done.stderr
    assert files(tmp_path / "shared") == files(tmp_path / "alone")


def test_without_a_certificate_or_with_another_one_the_command_ends_in_a_line(
    secured: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, _ = secured
    movie(tmp_path / "movie.tif", times=N_TIMES)
    model = save_network(tmp_path / "net.onnx", filters=2)
    command = ("restore", "movie.tif", "out", "--axes", "TZYX", "--model", model, "--scheduler", address)
    for environment, why in (({}, "distributed.comm.tls"), (certificate(tmp_path, "other"), "no Dask worker answers")):
        refused = care_live(tmp_path, environment, *command)
        assert refused.returncode == 2, refused.stderr
        assert why in refused.stderr and "Traceback" not in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_live_run_has_its_worker_started_over_tls(secured: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = secured
    movie(tmp_path / "movie.tif", times=N_TIMES)
    there = {"scheduler": address, "workers": 0, "remote_workers": 1, "remote_bind": "tcp://127.0.0.1:0"}
    tree = settings(tmp_path, replay(tmp_path / "movie.tif"), restore={"provider": "cpu", "policy": "wait", **there})
    (tmp_path / "config.toml").write_text(toml(tree))
    done = care_live(tmp_path, environment, "run", "config.toml", "--run-id", "test")
    assert done.returncode == 0, done.stderr
    assert [key.t for key in RunReader(tmp_path / "runs/test").keys("restored")] == list(range(N_TIMES))
