"""The link to the finished run: what another viewer in the browser reads by it, over HTTP from another origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore

from care_live.config import StoreConfig
from care_live.images import RunEnded, VolumeKey
from care_live.store import RunReader, open_run
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.volume_index import VolumeIndex
from care_live.viewer.web import access
from tests.make.scenes import STARTED, TOKEN, restored, serving

from .browser import Screen, chromium

pytestmark = [pytest.mark.slow]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    writer = open_run(StoreConfig(directory=tmp_path, keep_free_mib=0), STARTED)
    for t in range(3):
        writer.write_raw(restored(t).volume)
        writer.write_restored(restored(t))
    writer.note(RunEnded("finished"))
    writer.close()
    return writer.path


@pytest.fixture
def data(run: Path) -> Iterator[str]:
    """Give the address that stands in the link."""
    with serving(VolumeIndex(LiveCache(), History(run)), run_directory=run) as (_, address):
        yield f"{address.split('?')[0]}data/{access.data_token(TOKEN)}/"


@pytest.mark.parametrize("product", ["raw", "restored", "laplace_scale"])
def test_an_ome_zarr_reader_gets_every_voxel_over_http(run: Path, data: str, product: str) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    image = f"{data}{product}/0"
    metadata = httpx.get(f"{image}/zarr.json", timeout=60).json()
    described = yaozarrs.validate_ome_object(metadata["attributes"]["ome"])
    (scale,) = described.multiscales[0].datasets
    assert [axis.name for axis in described.multiscales[0].axes] == ["t", "c", "z", "y", "x"]
    array = zarr.open_array(FsspecStore.from_url(f"{image}/{scale.path}", read_only=True), mode="r")
    assert array.metadata.zarr_format == 3
    reader = RunReader(run)
    for t in range(3):
        np.testing.assert_array_equal(array[t, 0], reader.read(product, VolumeKey(t)))


def test_a_page_of_another_origin_may_read_ranges_of_shards(run: Path, data: str) -> None:
    """As Neuroglancer does: the index at the end of the shard first, then chunks; what is not there is a 404."""
    (shard,) = (path for path in (run / "raw" / "0" / "0" / "c" / "1").rglob("*") if path.is_file())
    url, content = f"{data}{shard.relative_to(run).as_posix()}", shard.read_bytes()
    foreign = {"Origin": "https://neuroglancer-demo.appspot.com"}
    for asked, expected in (("bytes=-20", content[-20:]), ("bytes=4-19", content[4:20])):
        answer = httpx.get(url, headers=foreign | {"Range": asked}, timeout=60)
        assert (answer.status_code, answer.content) == (206, expected)
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert {"content-range", "content-length"} <= {name.strip() for name in exposed.split(",")}
        assert answer.headers["content-range"].endswith(f"/{len(content)}")
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    before = httpx.options(url, headers=foreign | asks | {"Access-Control-Request-Private-Network": "true"}, timeout=60)
    assert before.status_code == 200 and before.headers["access-control-allow-headers"] == "range"
    assert before.headers["access-control-allow-private-network"] == "true"
    missing = httpx.get(f"{data}raw/0/0/c/9/0/0/0/0", headers=foreign, timeout=60)
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, "*")


@pytest.mark.browser
def test_the_link_on_the_page_names_what_is_there(run: Path, tmp_path: Path) -> None:
    with (
        serving(VolumeIndex(LiveCache(), History(run)), run_directory=run) as (_, address),
        chromium(tmp_path / "profile") as window,
    ):
        screen = Screen(window, address)
        screen.until("document.getElementById('link').textContent === 'run finished'")
        screen.until("decodeURIComponent(document.getElementById('finished-link').href).includes('displayDimensions')")
        state = json.loads(unquote(screen.js("document.getElementById('finished-link').href").split("#!")[1]))
        assert state["displayDimensions"] == ["x", "y", "z"]
        assert [layer["name"] for layer in state["layers"]] == ["raw", "restored", "laplace_scale"]
        window_of = screen.js("careLive.header().channels[0].windows.mean")
        assert state["layers"][1]["shaderControls"]["normalized"]["range"] == [window_of["low"], window_of["high"]]
        for layer in state["layers"]:
            root = layer["source"].removesuffix("|zarr3:")
            fetched = "return await (await fetch(arguments[0])).json()"
            assert screen.window.execute_script(fetched, f"{root}zarr.json")["zarr_format"] == 3
