"""Checks of this machine and of a config before a run, each with advice."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from care_live.backends.session import runtime
from care_live.config import ChannelNetwork, Config, MicroManagerConfig, StudioConfig, VirtualConfig
from care_live.daemon import dask_scheduler
from care_live.errors import CareLiveError, ConfigError, StoreError
from care_live.model.file import located, read_card
from care_live.store import nearest_folder

CheckVerdict: TypeAlias = Literal["good", "note", "bad"]

_DISK_PROBE_BYTES = 64 * 2**20
_MM_PACKAGES = ("pycromanager", "mmpycorex", "pyjavaz", "ndstorage", "pymmcore", "mm-test-adapters", "pymmcore-plus")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    verdict: CheckVerdict
    seen: str
    advice: str = ""
    """What to do; empty when nothing has to be done."""


def examine(config: Config) -> Iterator[Finding]:
    """Check everything that a run with this config needs, one finding at a time."""
    yield _python()
    for network in config.restore.networks:
        unknown = _unknown_channels(config, network)
        yield _model(network, without=unknown)
        if unknown:
            yield _no_such_channels(config, unknown)
    yield _inference_packages()
    yield _gpu()
    yield _openvino()
    yield from _scheduler(config)
    yield from _micro_manager(config)
    yield from _disk(config)
    yield from _ports(config)


def _python() -> Finding:
    seen = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    fits = (3, 11) <= sys.version_info[:2] <= (3, 14)
    return Finding("python", "good" if fits else "bad", seen, "" if fits else "use Python 3.11 to 3.14")


def _model(network: ChannelNetwork, *, without: Sequence[str]) -> Finding:
    """Read a card; of the channels those are named that the run has."""
    known = [name for name in network.channels if name not in without]
    of = f" of {', '.join(known)}" if known else ""
    try:
        card = read_card(located(network.model))
    except CareLiveError as error:
        return Finding("model", "bad", f"{error}{of}", "set restore.model to an ONNX file with a model card")
    return Finding("model", "good", f"{card.name}: {card.task}, axes {card.axes}, {', '.join(card.heads)}{of}")


def _unknown_channels(config: Config, network: ChannelNetwork) -> list[str]:
    """Return the channels of a network that the run does not have, where the config says which it has."""
    of_run = _channels_of_run(config)
    return [name for name in network.channels if name not in of_run] if of_run else []


def _channels_of_run(config: Config) -> list[str]:
    """Return the run's channels, where the config has them."""
    source = config.source
    if not isinstance(source, VirtualConfig | MicroManagerConfig) or source.sequence is not None:
        return []
    return [channel.preset for channel in source.acquisition.channels]


def _no_such_channels(config: Config, unknown: Sequence[str]) -> Finding:
    seen = f"the run has {', '.join(_channels_of_run(config))}: nothing of {', '.join(unknown)} would be restored"
    return Finding("channels", "bad", seen, "name them in [[restore.channel]] as in source.acquisition")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _inference_packages() -> Finding:
    cpu, gpu = _version("onnxruntime"), _version("onnxruntime-gpu")
    if cpu and gpu:
        advice = "they overwrite each other: pip uninstall both, then pip install 'care-live[gpu]' or [cpu]"
        return Finding("onnx runtime", "bad", f"onnxruntime {cpu} and onnxruntime-gpu {gpu}", advice)
    if not cpu and not gpu:
        return Finding("onnx runtime", "bad", "not installed", "pip install 'care-live[cpu]' or 'care-live[gpu]'")
    offered = [name.removesuffix("ExecutionProvider") for name in runtime().get_available_providers()]
    package = f"onnxruntime-gpu {gpu}" if gpu else f"onnxruntime {cpu}"
    return Finding("onnx runtime", "good", f"{package}, providers {', '.join(offered)}")


def _gpu() -> Finding:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return Finding("gpu", "note", "no NVIDIA driver", "restoration runs on the CPU, many times slower")
    query = [smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("gpu", "bad", f"nvidia-smi does not answer: {error}", "check the NVIDIA driver")
    if answer.returncode:
        return Finding("gpu", "bad", answer.stderr.strip() or "nvidia-smi failed", "check the NVIDIA driver")
    advice = "" if _version("onnxruntime-gpu") else "pip uninstall onnxruntime; pip install 'care-live[gpu]'"
    return Finding("gpu", "note" if advice else "good", answer.stdout.strip().replace("\n", "; "), advice)


def _openvino() -> Finding:
    version = _version("openvino")
    if version is None:
        advice = "pip install 'care-live[openvino]' for a quicker Live and fast mode without a GPU"
        return Finding("openvino", "note", "not installed", advice)
    from care_live.backends.openvino import fast_precision

    return Finding("openvino", "good", f"openvino {version}, fast mode computes in {fast_precision()}")


def _scheduler(config: Config) -> Iterator[Finding]:
    """Look at the workers on other machines, where the config wants some."""
    wanted = config.restore.remote_workers
    if not wanted:
        return
    start = f"dask worker {config.restore.scheduler} --nthreads 1"
    try:
        state = dask_scheduler.look(config.restore.scheduler)
    except ConfigError as error:
        yield Finding("scheduler", "bad", f"no connection to {config.restore.scheduler}", str(error))
        return
    except Exception as error:  # noqa: BLE001 - Dask's own, of any kind
        seen = f"no Dask scheduler answers at {config.restore.scheduler}: {error}"
        yield Finding("scheduler", "bad", seen, f"start it (dask scheduler) and its workers ({start})")
        return
    seen = f"{state.address} answers; {state.n_workers} workers, {state.n_with_gpu} with GPU=1"
    if state.other_versions:
        yield Finding("scheduler", "bad", f"{seen}; {'; '.join(state.other_versions)}", "install the same versions")
    elif state.n_workers < wanted:
        yield Finding("scheduler", "note", f"{seen}; the run wants {wanted}", f"start more: {start}")
    else:
        yield Finding("scheduler", "good", seen)


def _micro_manager(config: Config) -> Iterator[Finding]:
    source = config.source
    if isinstance(source, StudioConfig) or (isinstance(source, MicroManagerConfig) and source.backend == "java"):
        yield _java_server(source.port)
    if not isinstance(config.source, MicroManagerConfig | VirtualConfig):
        return
    missing = [package for package in _MM_PACKAGES if _version(package) is None]
    if missing:
        yield Finding("micro-manager", "bad", f"missing: {', '.join(missing)}", "pip install 'care-live[mm]'")
        return
    yield _device_interface()


def _device_interface() -> Finding:
    """The device interface of pymmcore and of the adapters must be the same, or no device loads."""
    core, adapters = _version("pymmcore") or "", _version("mm-test-adapters") or ""
    seen = f"pymmcore {core}, mm-test-adapters {adapters}"
    fits = core.split(".")[3:4] == adapters.split(".")[:1]
    advice = "" if fits else "the fourth number of pymmcore must be the first of mm-test-adapters"
    return Finding("micro-manager", "good" if fits else "bad", seen, advice)


def _java_server(port: int) -> Finding:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as error:
        advice = "start Micro-Manager and tick Tools > Options > Run server on port 4827"
        return Finding("micro-manager server", "bad", f"port {port}: {error}", advice)
    return Finding("micro-manager server", "good", f"port {port} answers")


def _disk(config: Config) -> Iterator[Finding]:
    try:
        directory = nearest_folder(config.store.directory)
    except StoreError as error:
        yield Finding("disk space", "bad", str(error), "set store.directory to a folder on a disk that exists")
        return
    free_mib = shutil.disk_usage(directory).free / 2**20
    low = free_mib < config.store.keep_free_mib
    advice = "free some space, or set store.directory to another disk" if low else ""
    yield Finding("disk space", "bad" if low else "good", f"{free_mib / 1024:.1f} GiB free at {directory}", advice)
    try:
        rate = _disk_rate(directory)
    except OSError as error:
        yield Finding(
            "disk speed", "bad", f"{directory}: {error}", "set store.directory to a folder that you may write to"
        )
        return
    advice = "" if rate > 100 else "slower than most cameras: use a local SSD"
    yield Finding("disk speed", "good" if rate > 100 else "note", f"{rate:.0f} MB/s written and flushed", advice)


def _disk_rate(directory: Path) -> float:
    """Write and flush a file; return MB/s."""
    block = os.urandom(2**20)
    with tempfile.TemporaryFile(dir=directory) as file:
        start = time.perf_counter()
        for _ in range(_DISK_PROBE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return _DISK_PROBE_BYTES / 1e6 / (time.perf_counter() - start)


def _ports(config: Config) -> Iterator[Finding]:
    wanted = {
        "publish.bind": config.publish.bind,
        "publish.bind_pull": config.publish.bind_pull,
        "daemon.status_bind": config.daemon.status_bind,
        "web.bind": config.web.bind,
    }
    for setting, address in wanted.items():
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        with socket.socket() as probe:
            try:
                probe.bind((host, int(port)))
            except (OSError, ValueError, OverflowError) as error:
                yield Finding(setting, "bad", f"{address}: {error}", f"set {setting} to a free address")
            else:
                yield Finding(setting, "good", f"{address} is free")
