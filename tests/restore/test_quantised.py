"""Results that leave a device as codes: nearly the same, flagged where they are none, and known to every watcher."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tifffile
from click.testing import CliRunner
from onnx import TensorProto, helper

from care_live.backends.device import DeviceSession
from care_live.backends.session import OnnxSession, Options
from care_live.cli import cli
from care_live.config import NormaliseConfig, RestoreConfig
from care_live.errors import RestoreError
from care_live.images import Restored
from care_live.maps import Head
from care_live.model import file, quantised_outputs
from care_live.model.card import ModelCard
from care_live.model.csbdeep import import_csbdeep
from care_live.model.file import read_card
from care_live.percentiles import Span
from care_live.restore import select
from care_live.restore.engine import Engine
from care_live.restore.probe import compare
from care_live.restore.tiled import Network
from tests.conftest import need_data
from tests.make.networks import Graph, noisy, save_graph, save_network, volume
from tests.make.streams import recorded

CODED, PLAIN = Options(threads=1, quantised=True), Options(threads=1)
CONFIG = RestoreConfig(provider="cpu", threads=1, streaming="off", quantised=True)
ROUNDING = 1e-6
"""Of float32, relative to the largest number on the way."""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the CPU be the device that results leave."""
    monkeypatch.setattr(select, "opener", lambda _: DeviceSession)
    monkeypatch.setattr(select, "is_quantised", lambda config, _: config.quantised)


def within(got: np.ndarray, wanted: np.ndarray, head: Head, *, steps: float = 1) -> bool:
    allowed = steps * quantised_outputs.slack(head, wanted) + ROUNDING * np.abs(wanted).max()
    return bool((np.abs(got - wanted) <= allowed).all())


def maps(restored: Restored) -> dict[Head, np.ndarray]:
    """Return what came from the network; the evidence is computed beside it, and has no codes on the way."""
    return {head: array for head, array in restored.maps.items() if head != "evidence"}


def both(path: Path, pixels: np.ndarray, **changed: Any) -> tuple[Restored, Restored]:
    """Restore exactly, and with codes on the way."""
    config = CONFIG.model_copy(update=changed)
    (exact,) = Engine(path, config.model_copy(update={"quantised": False})).restore([volume(pixels)])
    (coded,) = Engine(path, config).restore([volume(pixels)])
    return exact, coded


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    "network",
    [
        {},
        {"members": 5},
        {"ndim": 2},
        {"ndim": 2, "task": "isotropic", "factor": 2.0},
        {"task": "upsample", "factor": 2.0},
    ],
    ids=["3d", "five-members", "2d", "isotropic", "upsample"],
)
@pytest.mark.parametrize("tile_px", [None, (20, 32, 32)], ids=["whole", "tiled"])
def test_an_engine_says_nearly_the_same(
    tmp_path: Path, network: Mapping[str, Any], tile_px: tuple[int, int, int] | None
) -> None:
    path = save_network(tmp_path / "net.onnx", **network)
    exact, coded = both(path, noisy((8, 40, 50)), tile_px=tile_px)
    wanted, got = maps(exact), maps(coded)
    assert wanted.keys() == got.keys()
    for head, array in wanted.items():
        assert within(got[head], array, head, steps=1.1), head
        assert (got[head] != array).any()
    assert coded.flags == exact.flags


@pytest.mark.parametrize("tile_px", [None, (16, 64, 64)], ids=["whole", "tiled"])
def test_the_shipped_network(tile_px: tuple[int, int, int] | None) -> None:
    path, pixels = file.shipped(), noisy((16, 64, 72))[None, None]
    card, results = read_card(path), []
    for options, opener in ((PLAIN, OnnxSession), (CODED, DeviceSession)):
        network = Network(path, card, options, open_session=opener)
        results.append([np.empty(pixels.shape, np.float32) for _ in card.heads])
        network.predict(pixels, [Span(100, 300)], results[-1], tile_px=tile_px)
    for head, wanted, got in zip(card.heads, *results, strict=True):
        assert within(got, wanted, head), head
        assert (got != wanted).any()


@pytest.mark.usefixtures("device")
def test_a_projection(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    card = import_csbdeep(need_data("csbdeep_models") / "projection_mae", path)
    assert card.task == "project"
    exact, coded = both(path, noisy((6, 40, 48)))
    assert within(coded.mean, exact.mean, "mean")
    assert (coded.mean != exact.mean).any()


def tearing(path: Path, over_zero: float) -> Path:
    """Write a network whose mean is its input, but for counts above 50,000: there it is something over zero."""
    graph = Graph(3, 1)
    number = graph.add("Cast", "raw", to=TensorProto.FLOAT)
    torn = graph.add("Greater", number, graph.constant(50000.0))
    zero = graph.add("Sub", number, number)
    graph.add("Where", torn, graph.add("Div", graph.constant(over_zero), zero), number, output="mean")
    graph.add("Add", graph.add("Mul", number, graph.constant(0.01)), graph.constant(1.0), output="laplace_scale")
    card = ModelCard(name="tearing", divisor=(2, 2, 2), halo_px=(2, 2, 2), heads=("mean", "laplace_scale"))
    return save_graph(path, graph, card)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("over_zero", [0.0, 1.0, -1.0], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize("tile_px", [None, (8, 16, 16)], ids=["whole", "tiled"])
def test_what_is_no_number_is_mended_there_and_nowhere_else(
    tmp_path: Path, over_zero: float, tile_px: tuple[int, int, int] | None
) -> None:
    pixels = noisy((8, 24, 36))
    pixels[2, 3, 4] = pixels[7, 23, 35] = 60000
    exact, coded = both(tearing(tmp_path / "net.onnx", over_zero), pixels, tile_px=tile_px)
    torn = pixels == 60000
    assert coded.flags == exact.flags == {"nan_fixed"}
    assert "laplace_scale" in coded.maps
    assert (np.isinf(coded.maps["laplace_scale"]) == torn).all()
    assert (coded.mean[torn] == 0).all()
    assert within(coded.mean[~torn], exact.mean[~torn], "mean")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("level", [0, 500, 65535])
def test_a_constant_volume(tmp_path: Path, level: int) -> None:
    """Its range is 0; at the last level it has no number at all."""
    path = tearing(tmp_path / "net.onnx", 1.0)
    exact, coded = both(path, np.full((8, 16, 16), level, np.uint16))
    assert (coded.mean == exact.mean).all()
    assert coded.flags == exact.flags


def streamed(path: Path, pixels: np.ndarray, **changed: Any) -> Restored:
    """Restore a volume whose planes came one by one."""
    fixed = NormaliseConfig(mode="fixed", low_counts=100, high_counts=300)
    engine = Engine(path, CONFIG.model_copy(update={"streaming": "on", "normalise": fixed} | changed))
    restored, choice = recorded(engine, pixels)
    assert choice.kind == "stream"
    return restored


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("network", [{}, {"members": 3}, {"ndim": 2}], ids=["3d", "three-members", "2d"])
@pytest.mark.parametrize("tile_px", [None, (8, 32, 32)], ids=["whole", "tiled"])
def test_a_stream_says_nearly_the_same(
    tmp_path: Path, network: Mapping[str, Any], tile_px: tuple[int, int, int] | None
) -> None:
    path, pixels = save_network(tmp_path / "net.onnx", **network), noisy((9, 40, 50))
    exact = maps(streamed(path, pixels, tile_px=tile_px, quantised=False))
    coded = maps(streamed(path, pixels, tile_px=tile_px))
    for head, array in exact.items():
        assert within(coded[head], array, head), head
        assert (coded[head] != array).any()


@pytest.mark.usefixtures("device")
def test_what_is_no_number_in_a_stream_is_mended_there_and_nowhere_else(tmp_path: Path) -> None:
    pixels = noisy((8, 24, 36))
    pixels[2, 3, 4] = pixels[7, 23, 35] = 60000
    coded, torn = streamed(tearing(tmp_path / "net.onnx", 0.0), pixels), pixels == 60000
    assert "nan_fixed" in coded.flags
    assert (np.isinf(maps(coded)["laplace_scale"]) == torn).all()
    assert (coded.mean[torn] == 0).all()
    assert within(coded.mean[~torn], pixels[~torn].astype(np.float32), "mean")


@pytest.mark.usefixtures("device")
def test_a_scale_that_is_made_of_the_mean_is_made_of_numbers(tmp_path: Path) -> None:
    graph = Graph(3, 1)
    mean = graph.conv(graph.add("Cast", "raw", to=TensorProto.FLOAT), 1, 1)
    graph.add("Identity", mean, output="mean")
    graph.add("Add", graph.add("Abs", graph.conv("mean", 1, 1)), graph.constant(1.0), output="laplace_scale")
    card = ModelCard(name="on", divisor=(2, 2, 2), halo_px=(2, 2, 2), heads=("mean", "laplace_scale"))
    path, pixels = save_graph(tmp_path / "net.onnx", graph, card), noisy((9, 16, 16))
    exact, coded = (maps(streamed(path, pixels, quantised=quantised)) for quantised in (False, True))
    assert within(coded["mean"], exact["mean"], "mean")
    assert within(coded["laplace_scale"], exact["laplace_scale"], "laplace_scale")


def test_outputs_of_a_foreign_graph_keep_their_places(tmp_path: Path) -> None:
    graph = Graph(2, 1)
    graph.add("Mul", "raw", graph.constant(0.5), output="b")
    graph.add("Add", "raw", graph.constant(3.0), output="a")
    path, names = tmp_path / "net.onnx", ("b", "a")
    sizes = ["n", 1, "y", "x"]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in ("raw", *names)}
    body = helper.make_graph(graph.nodes, "two", [values["raw"]], [values[name] for name in names], graph.constants)
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    card = ModelCard(
        name="two", axes="YX", divisor=(2, 2), halo_px=(0, 0), heads=("mean", "laplace_scale"), normalisation="none"
    )
    network = Network(path, card, CODED, open_session=DeviceSession)
    assert network.quantised
    fed = noisy((32, 32))[None, None].astype(np.float32)
    outs = [np.empty(fed.shape, np.float32) for _ in names]
    network.predict(fed, [Span(0, 1)], outs, tile_px=(16, 16))
    assert within(outs[0], fed / 2, "mean")
    assert within(outs[1], fed + 3, "laplace_scale")


def test_a_graph_that_cannot_have_codes_runs_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 17
    onnx.save(model, path)
    with caplog.at_level(logging.INFO):
        network = Network(path, read_card(path), CODED, open_session=DeviceSession)
    assert not network.quantised
    assert "quantised=no reason=the network has operator set 17" in caplog.text
    plain = Network(path, read_card(path), PLAIN, open_session=DeviceSession)
    fed = noisy((8, 16, 16))[None, None]
    pairs = zip(network.run(fed, [Span(100, 300)]), plain.run(fed, [Span(100, 300)]), strict=True)
    assert all((got == wanted).all() for got, wanted in pairs)


def test_where_nothing_leaves_a_device_it_is_exact_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_network(tmp_path / "net.onnx")
    with caplog.at_level(logging.INFO):
        exact, coded = both(path, noisy((8, 32, 32)))
    assert (exact.mean == coded.mean).all()
    assert caplog.text.count("quantised=no reason=results of provider cpu leave no device") == 1


@pytest.mark.parametrize(("quantised", "said"), [(True, True), (False, False)])
@pytest.mark.usefixtures("device")
def test_the_card_says_it_to_watchers(tmp_path: Path, quantised: bool, said: bool) -> None:
    path = save_network(tmp_path / "net.onnx")
    assert Engine(path, CONFIG.model_copy(update={"quantised": quantised})).card.quantised is said


@pytest.mark.parametrize(("steps", "n_places"), [(0, 2), (1, 2), (3, 1)])
def test_places_agree_where_a_code_is_one_off_and_not_where_it_is_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, n_places: int
) -> None:
    """An error of rounding may move a number to the next code, which is far more than that error."""
    plain = quantised_outputs.read

    def shifted(found: np.ndarray, ends: np.ndarray, into: np.ndarray) -> None:
        beside = threading.current_thread().name.startswith("copies") and found.dtype == np.uint8
        plain(found - np.uint8(steps) if beside else found, ends, into)

    monkeypatch.setattr(quantised_outputs, "read", shifted)
    path = save_network(tmp_path / "net.onnx")
    network = Network(path, read_card(path), CODED, open_session=DeviceSession)
    session = network.session((1, 1, 8, 16, 16))
    assert isinstance(session, DeviceSession)
    assert len(session.places(2)) == n_places


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("asked", [("--quantised",), ()], ids=["asked", "not-asked"])
def test_a_file_tells_it_too(tmp_path: Path, asked: Sequence[str]) -> None:
    path, movie = save_network(tmp_path / "net.onnx", filters=2), noisy((5, 24, 30))
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    command = ["restore", str(tmp_path / "movie.tif"), str(tmp_path / "out.tif"), "--axes", "ZYX"]
    done = CliRunner().invoke(cli, [*command, "--model", str(path), "--provider", "cpu", "--threads", "1", *asked])
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        assert ('<M K="quantised">' in (written.ome_metadata or "")) is bool(asked)
        n_levels = len(np.unique(written.asarray()[..., 1, :, :, :]))
    assert (n_levels < 255) is bool(asked)


Spoil = Callable[[np.ndarray, np.ndarray], None]


def off_by(steps: float) -> Spoil:
    def spoil(found: np.ndarray, _: np.ndarray) -> None:
        found -= np.asarray(steps).astype(found.dtype)

    return spoil


def stretched(_: np.ndarray, ends: np.ndarray) -> None:
    ends *= 1.03


def torn(found: np.ndarray, ends: np.ndarray) -> None:
    found.flat[3], ends[-1] = np.iinfo(found.dtype).max, 65535


@pytest.mark.parametrize(
    ("head", "spoil", "good"),
    [
        ("mean", off_by(0), True),
        ("mean", off_by(1), False),
        ("laplace_scale", off_by(1), False),
        ("laplace_scale", stretched, False),
        ("mean", torn, False),
    ],
    ids=["right", "mean-off-by-a-code", "scale-off-by-a-code", "scale-off-by-3%", "no-number"],
)
def test_the_self_test_allows_codes_half_a_step_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, spoil: Spoil, good: bool
) -> None:
    path = save_network(tmp_path / "net.onnx")
    card, plain = read_card(path), quantised_outputs.read

    def spoilt(found: np.ndarray, ends: np.ndarray, into: np.ndarray) -> None:
        found, ends = found.copy(), ends.copy()
        if (found.dtype == np.uint16) == (head == "mean"):
            spoil(found, ends)
        plain(found, ends, into)

    monkeypatch.setattr(quantised_outputs, "read", spoilt)
    reference = Network(path, card, PLAIN, open_session=OnnxSession)
    coded = Network(path, card, CODED, open_session=DeviceSession)
    if good:
        assert compare(reference, coded, card, tolerance=1e-5) < 1e-5
    else:
        with pytest.raises(RestoreError, match="of the range"):
            compare(reference, coded, card, tolerance=1e-5)


def test_codes_are_read_into_memory_of_any_kind(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    network = Network(path, read_card(path), CODED, open_session=DeviceSession)
    fed, spans = noisy((8, 16, 16))[None, None], [Span(100, 300)]
    own = [result.copy() for result in network.run(fed, spans)]
    wide: Sequence[np.ndarray] = [np.zeros((*fed.shape[:-1], 32), np.float32)[..., ::2] for _ in own]
    network.run(fed, spans, wide)
    assert all((got == wanted).all() for got, wanted in zip(wide, own, strict=True))
