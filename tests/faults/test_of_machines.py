"""Each part of a run on a machine of its own, as network namespaces: a cable that is cut for 10 s costs no volume."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from care_live.store import RunReader, verify
from care_live.wire import keys
from care_live.wire.sockets import new_pair
from tests.faults.lab import FULL
from tests.make.networks import save_network
from tests.make.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FULL, reason="CARE_LIVE_FAULTS=full"),
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="ip of iproute2"),
]

HOSTS = ("daemon", "microscope", "head", "worker1", "worker2", "viewer")
N_TIMES = 60
RATE_HZ = 1.5
CUT_S = 10.0
WAIT_S = 180.0
ROOT = Path(__file__).resolve().parents[2]
CAMERA = f"""
import sys
sys.path.insert(0, {str(ROOT / "tools")!r})
from pathlib import Path
from soaking import camera
from care_live.source import tap as plain_tap
import care_live.source

def keyed(address, **more):
    return plain_tap(address, key_file=Path("microscope.key"), daemon_key="daemon.key.pub", **more)

care_live.source.tap = keyed
sys.exit(camera.main())
"""
CONFIG = """
[source]
kind = "remote"
bind = "tcp://{daemon}:5790"
server_key_file = "daemon.key"
authorized_keys_file = "allowed"

[restore]
model = "net.onnx"
provider = "cpu"
threads = 1
scheduler = "tcp://{head}:8786"
remote_workers = 2
workers = 0
remote_bind = "tcp://{daemon}:5796"

[publish]
bind = "tcp://{daemon}:5791"
bind_pull = "tcp://{daemon}:5792"
server_key_file = "daemon.key"
authorized_keys_file = "allowed"

[store]
directory = "runs"
"""


class Lab:
    """Machines at one switch, and what runs on them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tag = folder, f"cl{os.getpid()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = {host: f"10.99.0.{number}" for number, host in enumerate(HOSTS, 1)}

    def wire(self) -> None:
        self._ip("netns", "add", self._tag)
        self._ip("-n", self._tag, "link", "add", "switch", "type", "bridge")
        self._ip("-n", self._tag, "link", "set", "switch", "up")
        for host, address in self.address.items():
            there = f"{self._tag}{host}"
            self._ip("netns", "add", there)
            self._ip("-n", self._tag, "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", there)
            self._ip("-n", self._tag, "link", "set", host, "master", "switch", "up")
            self._ip("-n", there, "addr", "add", f"{address}/24", "dev", "eth0")
            self._ip("-n", there, "link", "set", "eth0", "up")
            self._ip("-n", there, "link", "set", "lo", "up")

    def cable(self, host: str, state: str) -> None:
        self._ip("-n", self._tag, "link", "set", host, state)

    def start(self, host: str, *command: object) -> subprocess.Popen[bytes]:
        with (self._folder / f"{host}.log").open("ab") as log:
            whole = ["ip", "netns", "exec", f"{self._tag}{host}", sys.executable, *map(str, command)]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            process = subprocess.Popen(whole, cwd=self._folder, stdout=log, stderr=log, env=environment)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(psutil.Error):
                for one in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        one.kill()
            process.kill()
            process.wait(WAIT_S)
        for name in (*(f"{self._tag}{host}" for host in HOSTS), self._tag):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    pytest.importorskip("distributed", reason="Dask's distributed is not installed: pip install 'care-live[cluster]'")
    found = Lab(tmp_path)
    try:
        try:
            found.wire()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield found
    finally:
        found.close()


def write_keys(folder: Path) -> None:
    for name, role in (("daemon", None), ("microscope", "operator"), ("viewer", "recorder")):
        pair = new_pair()
        keys.write_pair(folder / f"{name}.key", pair)
        if role is not None:
            keys.allow(folder / "allowed", pair.public, name, role)


def n_restored(folder: Path) -> int:
    return sum(journal.read_bytes().count(b'"kind":"restored"') for journal in folder.glob("runs/*/journal.jsonl"))


@pytest.mark.timeout(400)
def test_a_cable_that_is_cut_for_10_s_costs_no_volume(lab: Lab, tmp_path: Path) -> None:
    """First that of one worker, then that between the daemon and both workers, and all others too."""
    write_keys(tmp_path)
    save_network(tmp_path / "net.onnx", filters=2)
    (tmp_path / "config.toml").write_text(CONFIG.format(**lab.address))
    (tmp_path / "camera.py").write_text(CAMERA)
    lab.start("head", "-m", "dask", "scheduler", "--port", "8786", "--no-dashboard")
    for host in ("worker1", "worker2"):
        there = f"tcp://{lab.address['head']}:8786"
        lab.start(host, "-m", "dask", "worker", there, "--nthreads", "1", "--no-dashboard", "--resources", "GPU=1")
    daemon = lab.start("daemon", "-m", "care_live", "run", "config.toml", "--run-id", "test")
    watched = f"tcp://{lab.address['daemon']}:5792"
    viewer = lab.start(
        "viewer", "-m", "care_live", "record", watched, "copy", "--key", "viewer.key", "--server-key", "daemon.key.pub"
    )
    microscope = lab.start("microscope", "camera.py", f"tcp://{lab.address['daemon']}:5790", N_TIMES, RATE_HZ)
    for host, after in (("worker1", 5), ("daemon", 25)):
        until(lambda after=after: n_restored(tmp_path) > after or daemon.poll() is not None, WAIT_S)
        lab.cable(host, "down")
        time.sleep(CUT_S)
        lab.cable(host, "up")
    assert microscope.wait(WAIT_S) == 0, (tmp_path / "microscope.log").read_text()
    assert daemon.wait(WAIT_S) == 0, (tmp_path / "daemon.log").read_text()
    assert viewer.wait(WAIT_S) == 0, (tmp_path / "viewer.log").read_text()
    for folder in ("runs/test", "copy/test"):
        reader = RunReader(tmp_path / folder)
        assert [key.t for key in sorted(reader.keys("restored"))] == list(range(N_TIMES)), folder
        assert verify(tmp_path / folder).clean
    lines = (tmp_path / "runs/test/journal.jsonl").read_bytes().splitlines()
    records = [msgspec.json.decode(line)["record"] for line in lines]
    assert "worker lost host=" in (tmp_path / "daemon.log").read_text(), "the cuts cost no worker: nothing was tried"
    live = [r["key"][0] for r in records if r["kind"] == "restored" and "late" not in r.get("flags", ())]
    assert all(one < other for one, other in itertools.pairwise(live))
