"""The page cl1.md is enough: a client in another language, written from it alone, against a real publisher."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest

from care_live.images import NotRestored, StateChanged, VolumeKey
from care_live.publish import Publisher, describe
from tests.make import samples

CLIENT = Path(__file__).with_name("reference_client.mjs")
PACKAGE = "zeromq@6.8.0"
N = 4


def _absent(why: str) -> None:
    if os.environ.get("CARE_LIVE_REQUIRE_NODE"):
        pytest.fail(f"{why}, and CARE_LIVE_REQUIRE_NODE is set")
    pytest.skip(why)


@pytest.fixture(scope="session")
def node_folder() -> Path:
    """A folder in which the npm package is installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _absent("node and npm are not on this machine")
    folder = Path(tempfile.gettempdir()) / f"care-live-{os.getuid()}-{PACKAGE}"
    if not (folder / "node_modules" / "zeromq").is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=5", "--prefix", str(folder), PACKAGE]
        own = os.environ | {"npm_config_cache": str(folder / "cache")}  # else it writes into the home folder
        installed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=500, env=own)
        if installed.returncode != 0:
            _absent(f"npm could not install {PACKAGE}: {installed.stderr[-300:]}")
    return folder


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def unpacked(said: dict[str, Any]) -> np.ndarray:
    """Return the values of an array as the client saw them; it leaves it to us to unpack blosc2."""
    if said["packed"] is None:
        numbers = np.array([np.inf if value is None else value for value in said["values"]])
        return numbers.reshape(said["shape"])
    codes = np.frombuffer(blosc2.decompress2(base64.b64decode(said["packed"])), said["dtype"]).reshape(said["shape"])
    if said["coding"] == "affine":
        return codes * said["step"] + said["zero"]
    return codes if said["coding"] == "plain" else 2.0 ** (said["zero"] + said["step"] * codes.astype(float))


def check_array(said: dict[str, Any]) -> None:
    sent = samples.restored(said["key"][0])
    whole = {"raw": sent.volume.pixels, "mean": sent.mean, "laplace_scale": sent.maps["laplace_scale"]}
    product = said["product"]
    expected = describe.downsample(product, whole.get(product, sent.maps["disagreement"]), said["level"])
    came = unpacked(said)
    if said["coding"] == "plain":
        np.testing.assert_array_equal(came.astype(expected.dtype), expected)
    elif said["coding"] == "affine":
        assert np.abs(came - expected).max() <= 0.5 * said["step"] + 1e-6 * float(expected.max())
    else:
        np.testing.assert_allclose(came, expected, rtol=0.026)


def run_client(node_folder: Path, publisher: Publisher) -> dict[str, list[dict[str, Any]]]:
    """Publish a run for the client: some of it before it comes, the rest once it listens to the broadcast."""
    for t in range(N):
        publisher.publish(samples.restored(t))
    command = ["node", str(CLIENT), publisher.address_pull, publisher.address, *(f"{t},0,0" for t in range(N))]
    seen: dict[str, list[dict[str, Any]]] = {}
    environment = os.environ | {"NODE_FOLDER": str(node_folder)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            for said in lines(process):
                seen.setdefault(said["what"], []).append(said)
                if said["what"] == "listening":
                    finish(publisher)
        finally:
            process.kill()
        assert process.stderr is not None
        assert "done" in seen, process.stderr.read()
    return seen


def finish(publisher: Publisher) -> None:
    for t in range(N, 2 * N):
        publisher.publish(samples.restored(t))
        publisher.change(StateChanged(VolumeKey(t), "confirmed"))
    publisher.skipped(NotRestored(VolumeKey(2 * N), "skipped", "restoration lags"))
    publisher.end(samples.ENDED)


@pytest.mark.slow
@pytest.mark.parametrize("n_positions", [1, 3456])
def test_a_client_in_another_language_gets_every_volume_and_counts_its_losses(
    node_folder: Path, n_positions: int
) -> None:
    with Publisher(samples.config()) as publisher:
        publisher.start(samples.started() if n_positions == 1 else samples.plate(n_positions), samples.NETWORK)
        seen = run_client(node_folder, publisher)
    (hello,), (newest,), (fetched,), (broadcast,), (replay,) = (
        seen[what] for what in ("hello", "newest", "fetched", "broadcast", "replay")
    )
    assert hello["run"] == "run-1" and hello["groups"] == (n_positions > 1)
    assert (newest["key"], len(newest["products"])) == ([N - 1, 0, 0], 4)
    assert fetched["n"] == N * 20 and len(seen["array"]) == N * 20 * 4
    assert fetched["busy"] > 0, "more were asked for at once than may wait"
    for said in seen["array"]:
        check_array(said)
    assert replay["seen"] == ["start", *["volume"] * N, *["volume", "change"] * N, "skipped", "end"]
    for product in ("restored", "raw"):
        counted = broadcast[product]
        assert counted == {"received": N, "not_made": 0, "too_slow": 0}
    assert broadcast["note"]["too_slow"] == 0
