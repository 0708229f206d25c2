"""Arrays in, arrays out: any order of axes, any type of pixels, and the numbers of the engine."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import care_live
from care_live.config import RestoreConfig
from care_live.errors import ConfigError, RestoreError, SourceError
from care_live.model import file
from care_live.offline import OpenedNetwork
from care_live.restore.engine import Engine
from tests.make.networks import noisy, save_network, volume


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> OpenedNetwork:
    path = save_network(tmp_path_factory.mktemp("network") / "net.onnx", filters=2)
    return care_live.open_network(path, provider="cpu", threads=1)


MOVIE = np.stack([np.stack([noisy((4, 16, 18), seed=2 * t + c) for c in range(2)]) for t in range(2)])  # TCZYX


def wanted(network: OpenedNetwork) -> np.ndarray:
    """Return what the engine makes of the movie, TCZYX."""
    engine = Engine(network.path, RestoreConfig(provider="cpu", threads=1))
    rows = [[engine.restore([volume(MOVIE[t, c], t=t, c=c)])[0].mean for c in range(2)] for t in range(2)]
    return np.array(rows)


def test_the_maps_are_those_of_the_engine_and_say_what_they_are(network: OpenedNetwork) -> None:
    result = network.restore(MOVIE, "TCZYX", voxel_size_um=(2.0, 0.5, 0.5))
    assert (result.mean == wanted(network)).all()
    assert result.laplace_scale is not None
    assert result.laplace_scale.shape == MOVIE.shape
    assert result.disagreement is None
    assert (result.axes, result.voxel_size_um, result.flags) == (
        "TCZYX",
        (2.0, 0.5, 0.5),
        {0: frozenset(), 1: frozenset()},
    )
    assert set(result.ranges) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {one.colour for one in result.trust.values() if one} <= {"green", "amber", "red"}
    assert all(result.trust.values())
    assert result.model.sha256 == network.identity.sha256
    assert "not for intensity quantification" in result.limits


def test_axes_may_come_in_any_order(network: OpenedNetwork) -> None:
    straight = wanted(network)
    for axes in ("XYZCT", "CZTYX", "ZYXTC", "TCYXZ"):
        places = ["TCZYX".index(axis) for axis in axes]
        result = network.restore(MOVIE.transpose(places), axes)
        assert result.axes == axes
        assert (result.mean == straight.transpose(places)).all()


@pytest.mark.parametrize("axes", ["ZYX", "YX", "TZYX", "CZYX", "zyx", None])
def test_axes_may_be_left_out(network: OpenedNetwork, axes: str | None) -> None:
    place = {"T": 0, "C": 0, "Z": 0, "Y": slice(None), "X": slice(None)}
    array = MOVIE[tuple(slice(None) if axis in (axes or "ZYX").upper() else place[axis] for axis in "TCZYX")]
    result = network.restore(array, axes)
    assert result.axes == (axes or "ZYX").upper()
    assert result.mean.shape == array.shape


def test_a_call_does_not_depend_on_the_calls_before(network: OpenedNetwork) -> None:
    first = network.restore(MOVIE[0, 0]).mean
    network.restore(MOVIE[0, 0] // 2 + 500)
    assert (network.restore(MOVIE[0, 0]).mean == first).all()


def test_each_time_point_is_judged_by_what_it_shows_of_the_camera_itself(network: OpenedNetwork) -> None:
    """So that evidence and trust do not depend on where work began."""
    movie = np.stack([noisy((3, 64, 66), seed=t) for t in range(2)])
    fixed = care_live.open_network(network.path, provider="cpu", threads=1, counts=(90, 400))
    of_all, of_last = fixed.restore(movie, "TZYX"), fixed.restore(movie[1])
    np.testing.assert_array_equal(of_all.maps["evidence"][1], of_last.maps["evidence"])
    assert of_all.trust[1, 0] == of_last.trust[0, 0]


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32", "float64", ">u2", "int32", "int64"])
def test_other_types_of_pixels_give_the_same(network: OpenedNetwork, dtype: str) -> None:
    result = network.restore(MOVIE[0, 0].astype(dtype))
    np.testing.assert_allclose(result.mean, wanted(network)[0, 0], rtol=1e-5)
    assert (result.trust[0, 0] is None) == (dtype != ">u2")


def test_a_channel_that_the_network_adds_is_an_axis(tmp_path: Path) -> None:
    path = save_network(tmp_path / "two.onnx", filters=2, c_out=2)
    result = care_live.open_network(path, provider="cpu").restore(MOVIE[0, 0])
    assert result.axes == "CZYX"
    assert result.mean.shape == (2, *MOVIE.shape[2:])


@pytest.mark.parametrize(
    ("array", "axes", "error", "said"),
    [
        (MOVIE, None, ConfigError, "needs its axes named"),
        (MOVIE[0], "ZYX", ConfigError, "3 axes, but the array has 4"),
        (MOVIE[0, 0], "ZZX", ConfigError, "each once"),
        (MOVIE[0, 0], "ZCX", ConfigError, "Y and X among them"),
        (np.zeros((8, 8, 3), np.uint8), "YXS", ConfigError, "colour"),
        (MOVIE[:0, 0], "TZYX", ConfigError, "empty"),
        (MOVIE[0, 0].astype(complex), "ZYX", SourceError, "complex128"),
        (MOVIE[0, 0] > 100, "ZYX", SourceError, "a mask is no image"),
        (np.full((4, 8, 8), np.nan, np.float32), "ZYX", RestoreError, "not a number"),
    ],
    ids=["no-axes", "too-few", "twice", "no-y", "colour", "empty", "complex", "mask", "nan"],
)  # fmt: skip
def test_what_cannot_be_restored_is_said(
    network: OpenedNetwork, array: np.ndarray, axes: str | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        network.restore(array, axes)


def test_a_setting_that_is_wrong_is_said(network: OpenedNetwork) -> None:
    with pytest.raises(ConfigError, match="threads"):
        care_live.open_network(network.path, threads=-1)


def test_a_notebook_shows_tables(network: OpenedNetwork) -> None:
    result = network.restore(MOVIE[0, 0])
    for shown in (network._repr_html_(), result._repr_html_()):
        assert shown.startswith("<table>")
        assert "not for intensity quantification" in shown
        assert shown.count("<tr>") == shown.count("</tr>")
    assert "Z 4, Y 16, X 18" in repr(result)


def test_the_room_of_the_method_is_the_function_too() -> None:
    import care_live.restore
    from care_live.restore import ranges

    assert callable(care_live.restore)
    assert care_live.restore.ranges is ranges
    assert set(care_live.__all__) <= set(dir(care_live))
    assert all(hasattr(care_live, name) for name in itertools.chain(care_live.__all__))


def test_a_shipped_network_is_opened_by_its_name() -> None:
    assert care_live.open_network("forms", provider="cpu").path == file.shipped("forms")
