"""A network as a file: its card, its identity, and the one that ships with the package."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from pydantic import ValidationError

from care_live.config import describe
from care_live.errors import ModelError, UnknownNetworkError
from care_live.images import ModelIdentity
from care_live.imports import need
from care_live.model.card import METADATA_KEY, ModelCard
from care_live.model.confined import blamed_on
from care_live.model.unfinished import fresh_of, sweep

LARGEST_BYTES = 2**31 - 1
"""An ONNX file is one protobuf message, which cannot be larger."""


Shipped: TypeAlias = Literal["worm3d", "live2d", "forms"]
"""Networks that come with the package: for simulated worms, of stacks or of single planes; and one to begin others
with, which has learnt from random forms."""


def shipped(name: Shipped = "worm3d") -> Path:
    """Return a network that comes with the package.

    Raises
    ------
    ModelError
        This installation has none.
    """
    path = Path(__file__).parent / "networks" / f"{name}.onnx"
    if not path.is_file():
        raise ModelError(f"this installation has no shipped network at {path}: name one with --model or restore.model")
    return path


def located(model: Path | None) -> Path:
    """Return the file of a network that a setting names: a path, a shipped network by its name, or none for the worm's.

    Raises
    ------
    ModelError
        A shipped network is named that this installation lacks.
    """
    name = "worm3d" if model is None else str(model)
    for one in get_args(Shipped):
        if name == one and (model is None or not model.exists()):
            return shipped(one)
    return Path(name)


def identity(path: Path) -> ModelIdentity:
    """Return the card's name and the SHA-256 of the file."""
    return ModelIdentity(read_card(path).name, hashlib.sha256(_read(path)).hexdigest())


def read_card(path: Path) -> ModelCard:
    """Return the model card inside an ONNX file, or the one in ``NAME.card.json`` beside a foreign file.

    Raises
    ------
    ModelError
        No readable ONNX file, no card, or a card that breaks its schema.
    """
    beside = path.with_suffix(".card.json")
    network = load(path)
    with blamed_on(f"{path} carries a model card that cannot be read"):
        properties = {entry.key: entry.value for entry in network.metadata_props}
    if METADATA_KEY in properties:
        return _parse(properties[METADATA_KEY], path)
    if beside.is_file():
        with blamed_on(f"the model card {beside} cannot be read"):
            return _parse(beside.read_text(encoding="utf-8"), beside)
    raise ModelError(f"{path} carries no model card: run 'care-live import' on it, or put one beside it as {beside}")


def checksum_beside(path: Path) -> str | None:
    """Return the checksum of the card beside a foreign file; None: the file carries its own.

    Raises
    ------
    ModelError
        As `read_card`.
    """
    with blamed_on(f"{path} carries a model card that cannot be read"):
        carries_its_own = any(entry.key == METADATA_KEY for entry in load(path).metadata_props)
    beside = path.with_suffix(".card.json")
    if carries_its_own or not beside.is_file():
        return None
    with blamed_on(f"the model card {beside} cannot be read"):
        return hashlib.sha256(beside.read_bytes()).hexdigest()


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a file to be written, which takes the place of *path* at the end; where that fails, what was there stays.

    What a process left in the same folder that was killed at this is removed.
    """
    fresh = fresh_of(path)
    sweep(path.parent)
    try:
        yield fresh
        with fresh.open("rb+") as written:
            os.fsync(written.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def remove_unfinished(path: Path) -> None:
    """Remove what a confined process left that was ended while it wrote a network, or a card into it."""
    for left in (fresh := fresh_of(path), fresh_of(fresh)):
        left.unlink(missing_ok=True)


def write_card(path: Path, card: ModelCard) -> None:
    """Put a card into an ONNX file, in place of the one that it may have; the file is replaced whole."""
    network = load(path)
    kept = [entry for entry in network.metadata_props if entry.key != METADATA_KEY]
    del network.metadata_props[:]
    network.metadata_props.extend(kept)
    network.metadata_props.add(key=METADATA_KEY, value=card.model_dump_json())
    with replaced(path) as fresh:
        fresh.write_bytes(network.SerializeToString())


def load(path: Path) -> Any:
    """Parse an ONNX file without following it to any other file.

    Raises
    ------
    ModelError
        The file is missing, too large, or no ONNX.
    """
    onnx = need("onnx", extra="cpu")
    content = _read(path)
    try:
        network = onnx.load_model_from_string(content)
    except MemoryError:
        raise
    except Exception as error:
        if "alloc failed" in str(error):  # raised by protobuf, with the type that means an invalid file
            raise MemoryError(f"no memory to read {path}: {error}") from error
        raise ModelError(f"{path} is not an ONNX file: {' '.join(str(error).split())[:200]}") from error
    if not network.graph.node:
        raise ModelError(f"{path} is not an ONNX network: it has no layers")
    return network


def parsed(content: bytes) -> Any:
    """Return the network of an ONNX file's content, which was checked when it was loaded."""
    return need("onnx", extra="cpu").load_model_from_string(content)


def input_dtype(network: Any, *, float_input: bool = False) -> np.dtype[Any]:
    """Return the numpy type of a network's first input.

    Parameters
    ----------
    float_input : make that input float32 first
    """
    helper = need("onnx.helper", extra="cpu")
    tensor = network.graph.input[0].type.tensor_type
    if float_input:
        tensor.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
    dtype: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return dtype


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size} bytes: an ONNX file has at most {LARGEST_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ModelError:
    """Return what to raise where a network cannot be read: a wrong name is the caller's to mend, a bad disk is not."""
    is_wrong_name = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError)
    kind = UnknownNetworkError if is_wrong_name else ModelError
    return kind(f"cannot read the network {path}: {error.strerror or error}")


def _parse(text: str, origin: Path) -> ModelCard:
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"the model card in {origin} breaks its schema: {describe(error)}") from error
