"""Results at an address are those of a disk, whatever interrupts the copy; on a real S3 server where there is one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

import care_live
from care_live.errors import ConfigError, StoreError
from care_live.offline import address_output, estimate, plan_archive
from care_live.recorded import open_recording
from care_live.store import verify
from tests.make.networks import noisy, save_network
from tests.make.object_store import ObjectStore
from tests.make.plates import write_plate
from tests.make.waiting import until
from tests.offline.results import files

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'care-live[s3]'")
import fsspec

SETTINGS = {"provider": "cpu", "threads": 1, "progress": False}
WELLS = ("A/1", "B/2")
WAIT_S = 120.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells with two fields each."""
    path = tmp_path_factory.mktemp("plate") / "plate.zarr"
    write_plate(str(path), WELLS, np.stack([noisy((3, 16, 18), seed=n) for n in range(4)]))
    return path


@pytest.fixture(scope="module")
def undisturbed(plate: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of what a disk gets."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    care_live.restore(plate, output, model=model, **SETTINGS)
    return files(output)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Results are made in the working directory."""
    monkeypatch.chdir(tmp_path)
    yield
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def fetched(address: str, folder: Path) -> Path:
    """Copy what lies at an address to a folder."""
    store, path = fsspec.core.url_to_fs(address)
    store.invalidate_cache()
    for file in store.find(path):
        target = folder / file[len(path) :].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.cat_file(file))
    return folder


def test_a_plate_at_an_address_is_that_of_a_disk(
    plate: Path, model: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    report = care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    assert (report.n_restored, report.problems) == (4, [])
    assert report.summary().startswith("memory://bucket/out: 4 time points restored")
    assert files(fetched("memory://bucket/out", tmp_path / "copy")) == undisturbed
    assert verify(tmp_path / "copy").clean
    assert list(Path().glob(".*")) == []
    again = care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    assert (again.n_restored, again.n_before) == (0, 4)


def test_a_dry_run_counts_what_is_at_the_address(plate: Path, model: Path) -> None:
    network = care_live.open_network(model, provider="cpu", threads=1)
    plan = plan_archive([plate], "memory://bucket/out", axes=None, keep_raw=True, as_tiff=False)
    assert estimate(plan, network).n_before == 0
    care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    assert estimate(plan, network).n_before == 4


def test_of_two_commands_with_one_address_the_first_one_stops_with_the_reason(
    plate: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They work in two folders, with two networks, so that no lock keeps them apart."""
    memory, others = type(fsspec.filesystem("memory")), [tmp_path / "other"]
    put = memory.put_file
    another = save_network(tmp_path / "another.onnx", filters=2, seed=9)

    def meanwhile(self: object, source: str, *args: object, **kwargs: object) -> None:
        if "/c/" in source and others:
            others.pop().mkdir()
            monkeypatch.chdir(tmp_path / "other")
            care_live.restore(plate, "memory://bucket/out", model=another, **SETTINGS)
            monkeypatch.chdir(tmp_path)
        put(self, source, *args, **kwargs)

    monkeypatch.setattr(memory, "put_file", meanwhile)
    monkeypatch.setattr(address_output, "LOOK_S", 0.0)
    output = Path(".memory-bucket-out.restoring").absolute()
    with pytest.raises(StoreError, match="another command copies to memory://bucket/out, too"):
        care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    assert output.exists(), "what was restored here stays"


def test_a_mark_that_a_kill_left_behind_goes(plate: Path, model: Path) -> None:
    care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/out/restoring.json", b"{}")
    assert care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS).n_before == 4
    assert not store.exists("/bucket/out/restoring.json")


@pytest.mark.parametrize("n_copied", [0, 5])
def test_an_interrupted_copy_goes_on(
    plate: Path,
    model: Path,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_copied: int,
) -> None:
    memory, copied = type(fsspec.filesystem("memory")), []
    put = memory.put_file

    def broken(self: object, *args: object, **kwargs: object) -> None:
        if len(copied) >= n_copied:
            raise ConnectionError("the link is cut")
        copied.append(args)
        put(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "put_file", broken)
        with pytest.raises(StoreError, match=r"the link is cut; the same command goes on"):
            care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    with pytest.raises(ConfigError, match="network"):
        other = save_network(tmp_path / "other.onnx", filters=2, seed=2)
        care_live.restore(plate, "memory://bucket/out", model=other, **SETTINGS)
    fsspec.filesystem("memory").pipe_file("/bucket/out/restored/A/1/0/0/c/9/0/0/0/0", b"of another run before")
    report = care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    assert (report.n_restored, report.n_before) == (0, 4)
    assert files(fetched("memory://bucket/out", tmp_path / "copy")) == undisturbed


def test_several_results_go_below_an_address(plate: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        write_plate(str(tmp_path / f"data/{name}.zarr"), WELLS[:1], noisy((2, 3, 16, 18)))
    report = care_live.restore(tmp_path / "data", "memory://bucket/all", model=model, **SETTINGS)
    assert (report.n_restored, report.problems) == (4, [])
    recording = open_recording("memory://bucket/all/two/restored", any_numbers=True)
    assert recording.contents.plan.positions == ("A/1/0", "A/1/1")
    recording.close()
    assert list(Path().glob(".*")) == []


def test_what_lies_at_an_address_is_never_overwritten(plate: Path, model: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/out/notes.txt", b"mine")
    with pytest.raises(ConfigError, match="care-live restore did not make it"):
        care_live.restore(plate, "memory://bucket/out", model=model, **SETTINGS)
    with pytest.raises(ConfigError, match="would be a TIFF"):
        care_live.restore(plate, "memory://bucket/out.tif", model=model, **SETTINGS)
    with pytest.raises(ConfigError, match="cannot be written to"):
        care_live.restore(plate, "nowhere://bucket/out", model=model, **SETTINGS)


@pytest.fixture
def s3(plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A server with a plate, whose address and keys are in the environment."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'care-live[s3]'")
    pytest.importorskip("nanio", reason="no S3 server here: pip install 'care-live[dev]'")
    if os.name == "nt":
        pytest.skip("on Windows a server inherits no socket")
    store = ObjectStore(tmp_path / "s3")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(plate, store.buckets / "bucket/plate.zarr")
    store.start()
    try:
        yield store
    finally:
        store.close()


def check_s3(store: ObjectStore, undisturbed: dict[str, bytes]) -> None:
    """What the server has on its disk is what a disk gets, all but the address of the input."""
    out = store.buckets / "bucket/out"
    found = {name: content for name, content in files(out).items() if "/.tmp." not in name}  # of a killed server
    assert pixels(found) == pixels(undisturbed)
    assert found.keys() == undisturbed.keys()
    assert verify(out).clean
    plates = zarr.open_group(out / "restored", mode="r").attrs["ome"]["plate"]
    assert [well["path"] for well in plates["wells"]] == list(WELLS)


def pixels(of: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in of.items() if "/c/" in name}


def command(model: Path) -> list[str]:
    options = ("--model", model, "--provider", "cpu", "--threads", "1")
    return list(
        map(
            str,
            (sys.executable, "-m", "care_live", "restore", "s3://bucket/plate.zarr", "s3://bucket/out", *options),
        )
    )


def said(model: Path) -> str:
    """Return what the command prints; it ends well."""
    done = subprocess.run(command(model), capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_plate_goes_from_s3_to_s3(s3: ObjectStore, model: Path, undisturbed: dict[str, bytes]) -> None:
    """A tenth of all requests is refused, as S3 does at a high rate."""
    s3.refuse(0.1)
    assert said(model).startswith("s3://bucket/out: 4 time points restored")
    assert s3.n_requests()["refused"] > 0
    check_s3(s3, undisturbed)
    assert "4 were restored before" in said(model)
    assert list(Path().glob(".*")) == []


@pytest.mark.slow
def test_a_killed_command_and_a_killed_server_cost_nothing(
    s3: ObjectStore, model: Path, undisturbed: dict[str, bytes]
) -> None:
    with begun(command(model), s3, 8) as client:
        client.kill()
    with begun(command(model), s3, 8) as client:
        s3.kill()
        s3.start()
        client.wait(WAIT_S)
    if client.returncode:  # it gave up before the server was there again
        said(model)
    check_s3(s3, undisturbed)
    assert list(Path().glob(".*")) == []


@contextlib.contextmanager
def begun(command: list[str], store: ObjectStore, n_written: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; give it once it has written as many objects, or has ended."""
    before = store.n_requests()["PUT"]
    with subprocess.Popen(command) as client:
        until(lambda: store.n_requests()["PUT"] >= before + n_written or client.poll() is not None, WAIT_S)
        yield client
