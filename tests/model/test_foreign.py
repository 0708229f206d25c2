"""Networks from elsewhere: what their graph says, what their description wants, and their reach as it is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
import yaml
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from care_live.cli import main
from care_live.cli.importing import import_command
from care_live.errors import ConfigError, ModelError
from care_live.images import VolumeKey
from care_live.model import file
from care_live.model.bioimageio import import_bioimageio, read_description
from care_live.model.card import ModelCard
from care_live.model.foreign import describe_graph, import_onnx
from care_live.restore.probe import measure_halo
from care_live.store import RunReader
from tests.conftest import need_data
from tests.model.test_csbdeep import assert_close, counts, restore


def convolution(kernel: int = 3, *, opset: int = 20, size: int | str = 32, extra: str | None = None) -> onnx.ModelProto:
    """A network of a convolution, a pooling and an upsampling, for fields of one size."""
    random = np.random.default_rng(2)
    weights = [
        numpy_helper.from_array(random.normal(0, 0.3, (1, 1, kernel, kernel)).astype("f4"), "weight"),
        numpy_helper.from_array(np.array([1, 1, 2, 2], "f4"), "factors"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["smooth"], pads=[kernel // 2] * 4),
        helper.make_node("MaxPool", ["smooth"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Resize", ["coarse", "", "factors"], ["fine"], coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node(extra or "Identity", ["fine"], ["pooled"]),
        helper.make_node("Add", ["smooth", "pooled"], ["better"]),
    ]  # fmt: skip
    images = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, size, size]) for n in ("image", "better")]
    graph = helper.make_graph(nodes, "foreign", images[:1], images[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def saved(path: Path, network: onnx.ModelProto) -> Path:
    onnx.save_model(network, path)
    return path


def describe(folder: Path, network: onnx.ModelProto, **tensors: object) -> Path:
    """Write a bioimage.io folder in format 0.5."""
    folder.mkdir()
    saved(folder / "weights.onnx", network)
    sha256 = hashlib.sha256((folder / "weights.onnx").read_bytes()).hexdigest()
    tree = {
        "name": "Some Net, v2",
        "authors": [{"name": "A"}, {"name": "B"}],
        "license": "MIT",
        "format_version": "0.5.4",
        "inputs": [{"id": "raw", "preprocessing": tensors.get("before", [])}],
        "outputs": [{"id": "out", "postprocessing": tensors.get("after", [])}],
        "weights": {"onnx": {"source": "weights.onnx", "sha256": sha256}},
    }
    (folder / "rdf.yaml").write_text(yaml.safe_dump(tree))
    return folder


def reference(pixels: np.ndarray, network: onnx.ModelProto) -> np.ndarray:
    """What the network gives for a normalised (y, x) image."""
    loose = describe_loose(network, pixels.shape)
    (result,) = onnx.reference.ReferenceEvaluator(loose).run(None, {"image": pixels[np.newaxis, np.newaxis]})
    return result[0, 0]


def describe_loose(network: onnx.ModelProto, shape: tuple[int, ...]) -> onnx.ModelProto:
    for value in (*network.graph.input, *network.graph.output):
        for dim, size in zip(value.type.tensor_type.shape.dim, (1, 1, *shape), strict=True):
            dim.dim_value = size
    return network


def test_a_zoo_model_gives_its_own_test_output(tmp_path):
    folder = need_data("model_unet2d_nuclei_broad")
    card = import_bioimageio(folder, tmp_path / "net.onnx", measure=measure_halo)
    assert (card.axes, card.divisor, card.normalisation) == ("YX", (8, 8), "zero-mean-unit-variance")
    assert card.licence == "MIT"
    given, wanted = (np.load(folder / f"test_{which}.npy") for which in ("input", "output"))
    (restored,) = restore(tmp_path / "net.onnx", given.astype(np.uint16))
    assert_close(restored.mean, wanted)


def test_a_zoo_model_of_format_0_4_is_the_same(tmp_path):
    given = need_data("model_unet2d_nuclei_broad")
    shutil.copytree(given, tmp_path / "old", ignore=shutil.ignore_patterns("*.yaml", "*.png", "*.pt"))
    text = (given / "v0_4_9.bioimageio.yaml").read_text()
    (tmp_path / "old/rdf.yaml").write_text(text)
    old, new = read_description(tmp_path / "old"), read_description(given)
    assert [step.name for step in old.before] == [s.name for s in new.before if s.name != "ensure_dtype"]
    assert [step.name for step in old.after] == [s.name for s in new.after if s.name != "ensure_dtype"]
    assert old.test_input.name == new.test_input.name


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


def test_arithmetic_before_and_after_goes_into_the_graph(tmp_path):
    network = convolution()
    before = [
        {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
        {"id": "scale_range", "kwargs": {"min_percentile": 5, "max_percentile": 95}},
        {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": -0.5}},
    ]
    after = [{"id": "clip", "kwargs": {"min": -1.0, "max": 0.5}}, {"id": "sigmoid"}]
    folder = describe(tmp_path / "zoo", network, before=before, after=after)
    card = import_bioimageio(folder, tmp_path / "net.onnx", measure=measure_halo)
    assert (card.name, card.author, card.normalisation) == ("Some-Net-v2", "A, B", "percentile")
    assert (card.low_percentile, card.high_percentile) == (5, 95)
    pixels = counts(1, 1, 32, 32)
    low, high = np.percentile(pixels, (5, 95))
    inner = reference((2 * (pixels[0, 0] - low) / (high - low) - 0.5).astype("f4"), network)
    (restored,) = restore(tmp_path / "net.onnx", pixels)
    assert_close(restored.mean, 1 / (1 + np.exp(-np.clip(inner, -1, 0.5))))


def test_fixed_statistics_are_arithmetic_too(tmp_path):
    network = convolution()
    before = [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 180.0, "std": 50.0}}]
    card = import_bioimageio(
        describe(tmp_path / "zoo", network, before=before), tmp_path / "net.onnx", measure=measure_halo
    )
    assert card.normalisation == "none"
    pixels = counts(1, 1, 32, 32)
    (restored,) = restore(tmp_path / "net.onnx", pixels)
    assert_close(restored.mean, reference(((pixels[0, 0] - 180.0) / 50.0).astype("f4"), network))


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ({"before": [{"id": "binarize", "kwargs": {"threshold": 3}}]}, "asks for binarize, which cannot be done live"),
        ({"after": [{"id": "scale_mean_variance", "kwargs": {}}]}, "asks for scale_mean_variance"),
        (
            {"before": [{"id": "scale_range", "kwargs": {"mode": "per_dataset"}}]},
            "by other images than the one it gets",
        ),
    ],
)
def test_what_cannot_be_done_live_is_refused_by_name(tmp_path, tensors, match):
    folder = describe(tmp_path / "zoo", convolution(), **tensors)
    with pytest.raises(ModelError, match=match):
        import_bioimageio(folder, tmp_path / "net.onnx", measure=measure_halo)
    assert not (tmp_path / "net.onnx").exists()


def test_other_weights_than_described_are_refused(tmp_path):
    folder = describe(tmp_path / "zoo", convolution())
    saved(folder / "weights.onnx", convolution(5))
    with pytest.raises(ModelError, match="is not the file that its description names"):
        read_description(folder)
    (folder / "weights.onnx").unlink()
    with pytest.raises(ModelError, match=r"lacks its weights weights\.onnx: download the whole model"):
        read_description(folder)
    (folder / "rdf.yaml").write_text("name: [")
    with pytest.raises(ModelError, match="is not YAML"):
        read_description(folder)
    (folder / "rdf.yaml").write_text("name: x")
    with pytest.raises(ModelError, match="describes no model in format"):
        read_description(folder)
    (folder / "rdf.yaml").unlink()
    with pytest.raises(ModelError, match=r"it is not a bioimage\.io model"):
        read_description(folder)


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


def run(*arguments: object) -> tuple[int, str]:
    """Run the command; an error of ours is what main() would print."""
    outcome = CliRunner().invoke(import_command, [str(argument) for argument in arguments])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        assert isinstance(outcome.exception, ConfigError | ModelError), outcome.exception
        return outcome.exception.exit_code, str(outcome.exception)
    return outcome.exit_code, outcome.output


def test_the_command_writes_a_card_to_fill_in_and_takes_it_the_second_time(tmp_path):
    network, out = saved(tmp_path / "in.onnx", convolution(opset=11)), tmp_path / "net.onnx"
    code, said = run("onnx", network, out)
    assert code == 2 and "fill it in" in said
    card = tmp_path / "net.card.toml"
    card.write_text(card.read_text().replace('licence = ""', 'licence = "MIT"'))
    code, said = run("onnx", network, out)
    assert code == 0, said
    assert "halo (2, 2) px" in said
    found = file.read_card(out)
    assert isinstance(found, ModelCard) and found.licence == "MIT"
    card.write_text(card.read_text() + "\nspecimem = 3\n")
    code, said = run("onnx", network, out)
    assert code == 2 and "specimem" in said


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_the_command_compares_with_the_models_own_test_image(tmp_path, packed):
    model = need_data("model_unet2d_nuclei_broad")
    if packed:
        model = Path(shutil.make_archive(str(tmp_path / "model"), "zip", model))
    code, said = run("bioimageio", model, tmp_path / "net.onnx")
    assert code == 0, said
    assert "The model's test image: largest difference" in said


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


def test_the_command_refuses_a_bad_target(tmp_path):
    code, said = run("csbdeep", tmp_path, tmp_path / "net.pt")
    assert code == 2 and "name a .onnx file" in said
    code, said = run("csbdeep", tmp_path, tmp_path / "net.onnx")
    assert code == 1 and "config.json" in said


def test_an_import_that_takes_for_ever_is_ended_and_leaves_nothing(tmp_path, monkeypatch):
    network, out = saved(tmp_path / "in.onnx", convolution()), tmp_path / "net.onnx"
    monkeypatch.setattr("care_live.cli.importing.IMPORT_S", 0.01)
    code, said = run("onnx", network, out)
    assert code == 1 and "was not read within" in said
    assert not out.exists()
