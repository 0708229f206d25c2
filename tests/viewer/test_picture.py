"""What is sent to a browser equals the array that it was cut from."""

from __future__ import annotations

import gc
import io
import weakref

import numpy as np
import pytest

from care_live.maps import MAPS
from care_live.model.card import Calibration
from care_live.viewer.auto_contrast import HIGH_PERCENTILE_RESTORED, measure
from care_live.viewer.view_records import NetworkInfo, ViewedVolume
from care_live.viewer.web import cuts, picture
from care_live.viewer.web.fineness import Fineness
from care_live.viewer.web.requests import PageView
from care_live.wire.messages import FIRST_PRODUCTS
from tests.make import records
from tests.make.scenes import raw_only, scene

EXACT = Fineness(lossy=False, level=0)
LOSSY = Fineness(lossy=True, level=0)


def values(array: dict, data: bytes) -> np.ndarray:
    """Undo a coded array, as the page's shader does."""
    codes = np.frombuffer(data, array["dtype"]).reshape(array["shape"])
    linear = array["offset"] + array["step"] * codes.astype(np.float64)
    return linear if array["coding"] == "affine" else np.where(codes == 0, 0, np.exp2(linear))


def sent(shown: ViewedVolume, view: PageView, fineness: Fineness = EXACT) -> dict:
    header, buffers = picture.unpack(picture.Pictures().encode((shown,), view, fineness))
    arrays = {(one["product"], one["plane"]): (one, data) for one, data in zip(header["arrays"], buffers, strict=True)}
    return {"header": header, "arrays": arrays}


def test_a_plane_arrives_exactly():
    shown = scene()
    got = sent(shown, PageView(z=3))
    assert (values(*got["arrays"]["raw", "xy"]) == shown.raw[3]).all()
    step = got["arrays"]["mean", "xy"][0]["step"]
    assert np.abs(values(*got["arrays"]["mean", "xy"]) - shown.maps["mean"][3]).max() <= 0.51 * step
    relative = values(*got["arrays"]["laplace_scale", "xy"]) / shown.maps["laplace_scale"][3]
    assert np.abs(relative - 1).max() < 0.026  # half a step, and the logarithm of half a float32


def test_ortho_planes_meet_in_the_asked_voxel():
    shown = scene()
    got = sent(shown, PageView(mode="ortho", z=3, y=20, x=50))
    assert (values(*got["arrays"]["raw", "xz"]) == shown.raw[:, 20, :]).all()
    assert (values(*got["arrays"]["raw", "yz"]) == shown.raw[:, :, 50].T).all()
    assert got["header"]["at"] == [3, 20, 50]


def test_maximum_shows_the_uncertainty_of_the_voxel_that_is_seen():
    shown = scene(ensemble=True)
    got = sent(shown, PageView(mode="max"))
    assert (values(*got["arrays"]["raw", "xy"]) == shown.raw.max(0)).all()
    there = shown.maps["mean"].argmax(0)[None]
    expected = np.take_along_axis(shown.maps["laplace_scale"], there, 0)[0]
    assert np.abs(values(*got["arrays"]["laplace_scale", "xy"]) / expected - 1).max() < 0.026


def test_a_turned_volume_keeps_its_maxima():
    raw = np.random.default_rng(3).integers(0, 60000, (16, 301, 500), np.uint16)
    got = sent(raw_only(raw), PageView(mode="volume"))
    array, data = got["arrays"]["raw", "xyz"]
    assert np.prod(array["shape"]) <= cuts.MAX_VOXELS and array["level"] == 1
    assert values(array, data).max() == raw.max()
    assert (values(array, data)[:, 0, 0] == raw[:, :2, :2].max((1, 2))).all()
    assert (values(array, data)[:, -1, 0] == raw[:, -1, :2].max(1)).all(), "an odd edge is kept"


def test_a_lossy_plane_is_small_labelled_and_near():
    Image = pytest.importorskip("PIL.Image")
    shown = scene(shape=(4, 256, 256))
    exact, lossy = sent(shown, PageView()), sent(shown, PageView(), LOSSY)
    assert lossy["header"]["lossy"] and not exact["header"]["lossy"]
    array, data = lossy["arrays"]["mean", "xy"]
    assert len(data) < 0.1 * len(exact["arrays"]["mean", "xy"][1])
    codes = np.asarray(Image.open(io.BytesIO(data)))[..., 0]
    window = measure(shown.maps["mean"], HIGH_PERCENTILE_RESTORED)
    seen = np.clip(shown.maps["mean"][2], window.first, window.last)
    error = array["offset"] + array["step"] * codes - seen
    assert np.sqrt(np.mean(error**2)) < 0.02 * (window.high - window.low)


def test_a_raw_only_volume_can_be_shown():
    shown = scene()
    got = sent(raw_only(shown.raw), PageView())
    assert set(got["arrays"]) == {("raw", "xy")}
    assert got["header"]["channels"][0]["restored"] is False


def test_the_probe_reads_exact_numbers_and_the_calibrated_interval():
    shown = scene(ensemble=True)
    factor = NetworkInfo(calibration=Calibration(levels=(0.5, 0.9), factors=(1.0, 2.0))).half_width_factor(0.9)
    assert factor == pytest.approx(2 * np.log(10))
    (voxel,) = picture.probe((shown,), (3, 20, 50), [factor])
    at = (3, 20, 50)
    assert voxel["raw"] == shown.raw[at] and voxel["mean"] == shown.maps["mean"][at]
    half = factor * shown.maps["laplace_scale"][at]
    assert voxel["interval"] == pytest.approx([shown.maps["mean"][at] - half, shown.maps["mean"][at] + half])
    assert voxel["disagreement"] == pytest.approx(shown.maps["disagreement"][at])


def test_every_product_has_a_name_that_can_be_read():
    assert all(scene(ensemble=True).product(name) is not None for name in FIRST_PRODUCTS)


def test_what_two_browsers_see_alike_is_coded_once_and_goes_with_the_volume(monkeypatch):
    pictures, shown, cut = picture.Pictures(), scene(), []
    real = cuts.cut
    monkeypatch.setattr(cuts, "cut", lambda *what: (cut.append(1), real(*what))[1])
    first = picture.unpack(pictures.encode((shown,), PageView(revision=1, z=3), EXACT))
    second = picture.unpack(pictures.encode((shown,), PageView(revision=7, z=3), EXACT))
    assert len(cut) == 1 and first[1] == second[1]
    assert (first[0]["revision"], second[0]["revision"]) == (1, 7)
    for z in range(12):
        pictures.encode((shown,), PageView(z=z), EXACT)
    cut.clear()
    for z in (8, 9, 10, 11):
        pictures.encode((shown,), PageView(z=z), EXACT)
    assert not cut, "the last four are kept"
    pictures.encode((shown,), PageView(z=0), EXACT)
    assert cut, "an older one is not"
    gone = weakref.ref(shown)
    del shown
    gc.collect()
    assert gone() is None, "what is kept does not keep the volume"


def with_marks(shape=(6, 9, 13)):
    """Return a volume whose evidence has one number for 2 x 2 voxels: marks at two corners, on either side."""
    coarse = np.zeros((shape[0], -(-shape[1] // 2), -(-shape[2] // 2)), np.float32)
    coarse[1, 0, 0], coarse[4, -1, -1], coarse[:, 2, 2] = 9, -6, 3
    mean = np.random.default_rng(0).normal(200, 9, shape).astype(np.float32)
    raw = records.volume(mean.astype(np.uint16))
    return ViewedVolume(records.restored(raw, {"mean": mean, "evidence": coarse}), raw)


def test_a_coarser_map_is_cut_where_the_volume_is():
    shown = with_marks()
    coarse = shown.maps["evidence"]
    np.testing.assert_array_equal(values(*sent(shown, PageView(z=4))["arrays"]["evidence", "xy"]), coarse[4])
    at_corner = sent(shown, PageView(mode="ortho", z=4, y=8, x=12))["arrays"]
    np.testing.assert_array_equal(values(*at_corner["evidence", "yz"]), coarse[:, :, 6].T)
    assert [voxel["others"]["evidence"] for voxel in picture.probe((shown,), (4, 8, 12), [1.0])] == [-6]


def test_marks_stay_in_the_maximum_and_on_a_slow_link():
    Image = pytest.importorskip("PIL.Image")
    shown = with_marks()
    array, data = sent(shown, PageView(mode="max"))["arrays"]["evidence", "xy"]
    most = values(array, data)
    assert (array["mark"], most[0, 0], most[-1, -1], most[2, 2]) == (MAPS["evidence"].mark, 9, -6, 3)
    array, data = sent(shown, PageView(z=4), LOSSY)["arrays"]["evidence", "xy"]
    lossy = values(array, np.asarray(Image.open(io.BytesIO(data)))[..., 0].tobytes())
    assert (lossy[-1, -1], lossy[2, 2]) == (-6, 0), "what is no mark is left out"
