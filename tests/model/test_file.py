"""A network's file: the card survives the round trip, and what is no network is refused in one line."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from care_live.errors import ModelError, UnknownNetworkError
from care_live.model import checks
from care_live.model.file import checksum_beside, identity, load, read_card, remove_unfinished, replaced, write_card
from care_live.model.unfinished import fresh_of
from tests.make.networks import save_network


def test_card_round_trip_keeps_other_metadata(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    proto = onnx.load(path)
    proto.metadata_props.add(key="author", value="someone")
    onnx.save(proto, path)
    card = read_card(path).model_copy(update={"licence": "CC0-1.0"})
    write_card(path, card)
    assert read_card(path) == card
    assert ("author", "someone") in {(p.key, p.value) for p in onnx.load(path).metadata_props}
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


_WRITE_TOO = """
import pathlib, sys
from care_live.model.file import replaced
with replaced(pathlib.Path(sys.argv[1])) as fresh:
    fresh.write_bytes(b"theirs")
"""


def test_two_processes_that_write_a_network_leave_the_one_that_ends_last(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with replaced(path) as fresh:
        fresh.write_bytes(b"ours")
        subprocess.run([sys.executable, "-c", _WRITE_TOO, path], check=True, timeout=300)
        assert path.read_bytes() == b"theirs"
    assert path.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_the_own_process_left_is_removed(tmp_path: Path) -> None:
    path, others = tmp_path / "net.onnx", tmp_path / ".net.onnx.1-abcdef.new.onnx"
    for left in (path, others, fresh_of(path), fresh_of(fresh_of(path))):
        left.touch()
    remove_unfinished(path)
    assert {*tmp_path.iterdir()} == {path, others}


@pytest.mark.parametrize("name", ["none.onnx", ".", "net.onnx/inside.onnx"])
def test_a_name_without_a_network_behind_it_is_a_wrong_setting(tmp_path: Path, name: str) -> None:
    save_network(tmp_path / "net.onnx")
    for reads in (load, read_card, identity, checks.check):
        with pytest.raises(UnknownNetworkError, match="cannot read the network") as caught:
            reads(tmp_path / name)
        assert caught.value.exit_code == 2


def test_identity_is_the_hash_of_the_file(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    assert identity(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity(path).name == "net"


def test_a_foreign_network_has_its_card_beside_it(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    card = read_card(path)
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="no model card"):
        read_card(path)
    (tmp_path / "net.card.json").write_text(card.model_dump_json())
    assert read_card(path) == card
    before = checksum_beside(path)
    (tmp_path / "net.card.json").write_text(card.model_copy(update={"low_percentile": 5.0}).model_dump_json())
    assert before is not None and checksum_beside(path) != before


def test_a_card_beside_a_network_that_carries_its_own_counts_for_nothing(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    (tmp_path / "net.card.json").write_text("{}")
    assert checksum_beside(path) is None


def test_a_broken_card_names_the_field(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.onnx")
    proto = onnx.load(path)
    proto.metadata_props[0].value = '{"card": "care-live-1", "name": "net", "divisor": [2], "halo_px": [8], "tas": 1}'
    onnx.save(proto, path)
    with pytest.raises(ModelError, match="tas"):
        read_card(path)


@pytest.mark.parametrize("content", [b"", b"\x00garbage" * 100, b"\x89PNG"], ids=["empty", "garbage", "png"])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx"):
        read_card(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        read_card(tmp_path / "no.onnx")
