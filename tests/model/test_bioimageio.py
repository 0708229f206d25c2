"""Packages of the BioImage Model Zoo."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from care_live.errors import ModelError
from care_live.model import bioimageio

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
