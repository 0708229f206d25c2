"""care-live import: a card to fill in, a comparison with the model's own test image, and an end."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from care_live.model import confined, file
from care_live.model.card import ModelCard
from care_live.model.csbdeep import import_csbdeep
from care_live.model.foreign import describe_graph, write_foreign
from tests.conftest import need_data
from tests.make.foreign import convolution, run, saved

_WRITES_AND_CRASHES = """
import os, pathlib
from care_live.model.file import replaced
with replaced(pathlib.Path({out!r})) as fresh, replaced(fresh) as carded:
    fresh.touch()
    carded.touch()
    print(fresh.name, carded.name, file=open({said!r}, "w"), flush=True)
    os._exit(200)
"""


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


def test_the_command_refuses_a_bad_target(tmp_path):
    code, said = run("csbdeep", tmp_path, tmp_path / "net.pt")
    assert code == 2 and "name a .onnx file" in said
    code, said = run("csbdeep", tmp_path, tmp_path / "net.onnx")
    assert code == 1 and "config.json" in said


def test_an_import_that_fails_leaves_the_network_that_was_there(tmp_path, monkeypatch):
    out = tmp_path / "my_worm.onnx"
    saved(out, convolution())
    before = out.read_bytes()

    def fails(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file, "write_card", fails)
    with pytest.raises(OSError, match="No space"):
        import_csbdeep(need_data("csbdeep_models") / "care3d_prob_d2k3f8", out)
    with pytest.raises(OSError, match="No space"):
        write_foreign(convolution(), out, describe_graph(convolution(), "other"), measure=lambda *_: (2, 2))
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


def test_an_import_that_takes_for_ever_is_ended_and_leaves_nothing(tmp_path, monkeypatch):
    network, out = saved(tmp_path / "in.onnx", convolution()), tmp_path / "net.onnx"
    monkeypatch.setattr("care_live.cli.importing.IMPORT_S", 0.01)
    code, said = run("onnx", network, out)
    assert code == 1 and "was not read within" in said
    assert not out.exists()


def test_an_import_removes_what_its_crashed_reader_left_and_leaves_the_file_of_another_one(tmp_path, monkeypatch):
    network, out, said = saved(tmp_path / "in.onnx", convolution()), tmp_path / "net.onnx", tmp_path / "said"
    others = tmp_path / ".net.onnx.new.onnx"
    others.touch()
    crashes = _WRITES_AND_CRASHES.format(out=str(out), said=str(said))
    reader = confined.run
    monkeypatch.setattr(confined, "run", lambda *_, **limits: reader("timeit", ["-n1", "-r1", crashes], "it", **limits))
    code, text = run("onnx", network, out)
    assert code == 1 and "crashed its reader" in text
    assert len(said.read_text().split()) == 2
    assert {*tmp_path.iterdir()} == {network, others, said}
