"""Packages of the BioImage Model Zoo."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from care_live.errors import ModelError
from care_live.model import bioimageio
from care_live.model.bioimageio import import_bioimageio, read_description
from care_live.restore.probe import measure_halo
from tests.conftest import need_data
from tests.make.foreign import convolution, reference, saved
from tests.model.test_csbdeep import assert_close, counts, restore

DESCRIPTION = """
name: net
inputs: [{{}}]
outputs: [{{}}]
weights: {{onnx: {{source: {source}}}}}
"""


@pytest.mark.parametrize("source", ["../secret.onnx", "/etc/passwd", "a/../../secret.onnx"])
def test_a_description_names_no_file_outside_of_its_folder(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.onnx").write_bytes(b"secret")
    (folder / "rdf.yaml").write_text(DESCRIPTION.format(source=source), encoding="utf-8")
    with pytest.raises(ModelError, match="which lies outside of it"):
        bioimageio.read_description(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000, "is not YAML: RecursionError"),
        ("a: " + "9" * 5000, "is not YAML: ValueError"),
        ("\n".join(["a0: &a0 [x]"] + [f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 40)] + ["name: *a39"])
         + "\ninputs: [{}]\noutputs: [{}]\nweights: {onnx: {source: x}}", "wanted a text, found list"),
        ("name: &n [*n]", "describes no model"),
        ("5", "describes no model"),
    ],
    ids=["deep", "long number", "billion laughs", "endless", "number"],
)  # fmt: skip
def test_hostile_descriptions_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rdf.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=said) as refused:
        bioimageio.read_description(tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_zip_of_many_files_or_of_a_name_outside_fills_nothing(tmp_path: Path) -> None:
    many, outside = tmp_path / "many.zip", tmp_path / "outside.zip"
    with zipfile.ZipFile(many, "w") as packed:
        for i in range(1001):
            packed.writestr(str(i), b"")
    with pytest.raises(ModelError, match="1001 files"), bioimageio.opened(many):
        pass
    with zipfile.ZipFile(outside, "w") as packed:
        packed.writestr("../../escaped", b"x")
    with bioimageio.opened(outside) as folder:
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["escaped"]


def test_a_damaged_zip_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("rdf.yaml", b"name: net\n" * 1000)
    sound = path.read_bytes()
    for place in range(0, len(sound), 3):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            with bioimageio.opened(path):
                pass
        except ModelError as error:
            assert "\n" not in str(error)


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
