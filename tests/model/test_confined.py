"""What reads files from strangers may hang, crash or ask for all memory; the command still ends, in one line."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from care_live.errors import ConfigError, ModelError
from care_live.model import bioimageio, confined
from care_live.model.keras import read_layers


def evil(code: str, *, limit_s: float = 60.0) -> confined.Said:
    """Run a line of Python as a reader."""
    return confined.run("timeit", ["-n1", "-r1", code], "net.h5", limit_s=limit_s, limit_mib=512)


def test_a_reader_that_hangs_is_ended() -> None:
    with pytest.raises(ModelError, match=r"^net.h5 was not read within 2 s: it is damaged$"):
        evil("while True: pass", limit_s=2.0)


def test_a_reader_that_crashes_is_reported() -> None:
    with pytest.raises(ModelError, match=r"^net.h5 crashed its reader \(exit code -6\): it is damaged$"):
        evil("import os; os.abort()")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to so much memory")
def test_a_reader_gets_no_more_memory_than_it_may() -> None:
    said = evil("from care_live.model import confined; confined.confine(); bytearray(2**30)")
    assert said.exit_code == 1
    assert said.complaint == "MemoryError"
    with pytest.raises(ModelError, match="MemoryError"):
        confined.raise_again(said)


def test_an_error_comes_back_as_what_it_was() -> None:
    with pytest.raises(ConfigError, match=r"^fill it in$"):
        confined.raise_again(confined.Said(b"", 2, "care-live: fill it in"), "care-live: ")


def keras_file(path: Path, kernel: object) -> Path:
    """Write a file of one layer whose kernel is made by a function of the group."""
    with h5py.File(path, "w") as opened:
        opened.attrs["layer_names"] = [b"conv2d_1"]
        group = opened.create_group("conv2d_1")
        group.attrs["weight_names"] = [b"conv2d_1/kernel:0", b"conv2d_1/bias:0"]
        inner = group.create_group("conv2d_1")
        inner["bias:0"] = np.zeros(2, np.float32)
        kernel(inner)  # type: ignore[operator]
    return path


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(3, 3, 1, 2)).astype(np.float32)
    (layer,) = read_layers(keras_file(tmp_path / "net.h5", lambda group: group.__setitem__("kernel:0", values)))
    assert layer.name == "conv2d_1"
    assert (layer.kernel == values).all()
    assert layer.bias.shape == (2,)


def test_no_module_of_the_folder_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    path = keras_file(tmp_path / "net.h5", lambda group: group.__setitem__("kernel:0", np.zeros((3, 3, 1, 2))))
    assert len(read_layers(path)) == 1


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * 18))
    outside = [(str(tmp_path / "secret"), 0, 4 * 18)]
    path = keras_file(
        tmp_path / "net.h5",
        lambda group: group.create_dataset("kernel:0", (3, 3, 1, 2), np.float32, external=outside),
    )
    with pytest.raises(ModelError, match=r"in another file: a network is one file$"):
        read_layers(path)
    other = keras_file(tmp_path / "other.h5", lambda group: group.__setitem__("kernel:0", np.zeros((3, 3, 1, 2))))
    link = h5py.ExternalLink(str(other), "conv2d_1/conv2d_1/kernel:0")
    linked = keras_file(tmp_path / "linked.h5", lambda group: group.__setitem__("kernel:0", link))
    with pytest.raises(ModelError, match=r"in another file: a network is one file$"):
        read_layers(linked)


def test_weights_that_are_only_declared_are_not_made(tmp_path: Path) -> None:
    path = keras_file(
        tmp_path / "net.h5",
        lambda group: group.create_dataset("kernel:0", (2**20, 2**20, 1, 2), np.float32, chunks=(64, 64, 1, 2)),
    )
    with pytest.raises(ModelError, match=r"of 2199023255552 numbers: at most \d+ are read$"):
        read_layers(path)


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
