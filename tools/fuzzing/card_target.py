"""Model cards with hostile values, inside a sound network or beside one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import onnx

from care_live.model.card import METADATA_KEY
from fuzzing.damage import Case, Files, damage_json
from fuzzing.networks import restore_with
from fuzzing.target import Target, write_files
from tests.make.networks import save_network

_INSIDE, _BESIDE = "network.onnx", "network.card.json"


class Cards:
    """An input is the network without its card, and the card; half of them are read with the card put inside."""

    def originals(self, folder: Path) -> Sequence[Files]:
        paths = [save_network(folder / f"{ndim}d.onnx", ndim=ndim, filters=2) for ndim in (2, 3)]
        return [_apart(path.read_bytes(), inside) for path in paths for inside in (True, False)]

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        return damage_json(sound, chance, _BESIDE)

    def read(self, case: Case, folder: Path) -> None:
        files = dict(case.files)
        if files.pop("inside"):
            files[_INSIDE] = _together(files[_INSIDE], files.pop(_BESIDE))
        write_files(files, folder)
        restore_with(folder / _INSIDE)


def _apart(network: bytes, inside: bool) -> Files:
    model = onnx.load_model_from_string(network)
    (card,) = (entry.value for entry in model.metadata_props if entry.key == METADATA_KEY)
    del model.metadata_props[:]
    return {_INSIDE: model.SerializeToString(), _BESIDE: card.encode(), "inside": b"yes" if inside else b""}


def _together(network: bytes, card: bytes) -> bytes:
    model = onnx.load_model_from_string(network)
    model.metadata_props.add(key=METADATA_KEY, value=card.decode())
    return model.SerializeToString()


def target() -> Target:
    return Cards()
