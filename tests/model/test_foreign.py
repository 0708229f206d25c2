"""Networks from elsewhere: what their graph says, what their description wants, and their reach as it is."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from onnx import TensorProto, helper

from care_live.cli import main
from care_live.errors import ModelError
from care_live.images import VolumeKey
from care_live.model import file
from care_live.model.foreign import describe_graph, import_onnx
from care_live.restore.probe import measure_halo
from care_live.store import RunReader
from tests.conftest import need_data
from tests.make.foreign import convolution, reference, run, saved
from tests.model.test_csbdeep import assert_close, counts, restore


def test_the_field_may_have_any_size_and_the_reach_is_measured(tmp_path):
    network = convolution(5)
    card = describe_graph(network, "foreign").model_copy(update={"normalisation": "none"})
    imported = import_onnx(saved(tmp_path / "in.onnx", network), tmp_path / "net.onnx", card, measure=measure_halo)
    assert (imported.divisor, imported.halo_px) == ((2, 2), (2, 2))
    pixels = counts(1, 1, 40, 64)
    (whole,) = restore(tmp_path / "net.onnx", pixels)
    (tiled,) = restore(tmp_path / "net.onnx", pixels, tile_px=(1, 16, 16))
    wanted = reference(pixels[0, 0].astype("f4"), network)
    assert_close(whole.mean, wanted)
    assert np.abs(tiled.mean - whole.mean).max() <= 1e-5 * np.ptp(wanted)


def test_networks_that_look_at_the_whole_image_are_refused():
    with pytest.raises(ModelError, match="GlobalAveragePool reads the whole image"):
        describe_graph(convolution(extra="GlobalAveragePool"), "foreign")
    whole = next(need_data("model_ufish_onnx").glob("*.onnx"))
    with pytest.raises(ModelError, match="reads the whole image"):
        describe_graph(file.load(whole), "foreign")


def test_networks_that_are_no_image_to_image_ones_are_refused():
    shrinking = convolution()
    del shrinking.graph.node[2:]
    shrinking.graph.node[1].output[0] = "better"
    with pytest.raises(ModelError, match=r"gives \(128, 128\) px for \(256, 256\) px: it must keep the size"):
        describe_graph(shrinking, "foreign")
    two = convolution()
    two.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError, match="has 2 inputs: only one that takes one image"):
        describe_graph(two, "foreign")


def test_a_card_that_contradicts_its_graph_is_refused(tmp_path):
    network = convolution()
    card = describe_graph(network, "foreign").model_copy(update={"divisor": (4, 4)})
    with pytest.raises(ModelError, match=r"the card says divisor \(4, 4\), the graph says \(2, 2\)"):
        import_onnx(saved(tmp_path / "in.onnx", network), tmp_path / "net.onnx", card, measure=measure_halo)


def test_an_imported_network_restores_a_file_as_csbdeep_did(tmp_path):
    folder = need_data("csbdeep_models") / "iso2d_prob"
    given = np.load(folder / "reference.npz")
    tifffile.imwrite(tmp_path / "in.tif", given["x"])
    main(["import", "csbdeep", str(folder), str(tmp_path / "net.onnx"), "--task", "isotropic", "--factor", "3.4"])
    main(
        [
            "restore",
            str(tmp_path / "in.tif"),
            str(tmp_path / "out"),
            "--model",
            str(tmp_path / "net.onnx"),
            "--axes",
            "ZYX",
        ]
    )
    reader = RunReader(tmp_path / "out")
    assert_close(reader.read("restored", VolumeKey(0)), given["mean"])
    assert_close(reader.read("laplace_scale", VolumeKey(0)), given["scale"])
    assert reader.models[0].card["combine"] == "geometric-mean"


def test_only_names_that_are_ours_are_believed():
    network = convolution()
    assert describe_graph(network, "foreign").heads == ("mean",)
    network.graph.output.append(helper.make_tensor_value_info("fine", TensorProto.FLOAT, [1, 1, 32, 32]))
    assert describe_graph(network, "foreign").heads == ("mean",)
    for name, ours in (("better", "mean"), ("fine", "laplace_scale")):
        for node in network.graph.node:
            node.input[:] = [ours if found == name else found for found in node.input]
            node.output[:] = [ours if found == name else found for found in node.output]
    network.graph.output[0].name, network.graph.output[1].name = "mean", "laplace_scale"
    assert describe_graph(network, "foreign").heads == ("mean", "laplace_scale")


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"no zip")
    code, said = run("bioimageio", tmp_path / "model.zip", tmp_path / "net.onnx")
    assert code == 1 and "neither a folder nor a zip" in said
