"""Reads a Keras file and writes its convolutions to stdout; run by `keras`: ``python -m care_live.model.keras_reader``

First a line of JSON, name and shapes of each layer, then all numbers as little-endian float32.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model.confined import blamed_on, confine

_MOST_LAYERS = 4096
_MOST_NUMBERS = 2**28
"""Of one array; a network of more could not restore in real time."""


def read(path: Path) -> list[tuple[str, Any, Any]]:
    """Return name, kernel and bias of every convolution, in the order of the layers.

    Raises
    ------
    ModelError
        The file is missing, cut off, no HDF5, of another layout, or holds something that is no convolution.
    """
    h5py = need("h5py", extra="import")
    with (
        blamed_on(f"cannot read the weights {path}, missing, cut off, or no HDF5 file"),
        h5py.File(path, "r") as opened,
    ):
        tree = opened.get("model_weights", opened)
        if "layer_names" not in tree.attrs:
            raise ModelError(f"{path} has no layer_names: only Keras's legacy HDF5 layout can be imported")
        return list(_layers(tree, path))


def _layers(tree: Any, path: Path) -> Iterator[tuple[str, Any, Any]]:
    groups = tree.attrs["layer_names"]
    if len(groups) > _MOST_LAYERS:
        raise ModelError(f"{path} has {len(groups)} layers: a CARE network has at most {_MOST_LAYERS}")
    for group in map(_text, groups):
        weights: dict[str, dict[str, Any]] = {}
        for name in map(_text, tree[group].attrs["weight_names"]):
            layer, _, part = name.split(":")[0].rpartition("/")
            weights.setdefault(layer, {})[part] = _numbers(tree[group], name, path)
        for layer, parts in weights.items():
            if set(parts) != {"kernel", "bias"} or parts["kernel"].ndim not in {4, 5} or parts["bias"].ndim != 1:
                raise ModelError(
                    f"layer {layer} of {path} holds {', '.join(sorted(parts))}: a CARE network has only convolutions"
                )
            yield layer, parts["kernel"], parts["bias"]


def _numbers(group: Any, name: str, path: Path) -> Any:
    """Read one array, of this file and no other."""
    found = group[name]
    if Path(found.file.filename) != path or found.external or found.is_virtual:
        raise ModelError(f"{path} keeps {name} in another file: a network is one file")
    if math.prod(found.shape) > _MOST_NUMBERS:
        raise ModelError(f"{path} has {name} of {math.prod(found.shape)} numbers: at most {_MOST_NUMBERS} are read")
    return np.asarray(found, "<f4")


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def main() -> None:
    """Read the file that the command line names."""
    confine()
    try:
        layers = read(Path(sys.argv[1]))
    except ModelError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        sys.exit(1)
    head = [(name, kernel.shape, bias.shape) for name, kernel, bias in layers]
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for _, kernel, bias in layers:
        sys.stdout.buffer.write(kernel.tobytes() + bias.tobytes())


if __name__ == "__main__":
    main()
