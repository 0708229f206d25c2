"""Models of the bioimage.io zoo: a folder or zip with a description (YAML, formats 0.4 and 0.5) and ONNX weights.

Of what the description wants done before and after the network, normalisation by percentiles or by mean and
deviation goes into the model card; all that is plain arithmetic goes into the graph.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import onnx

from care_live.errors import ModelError
from care_live.imports import need
from care_live.model.card import ModelCard
from care_live.model.confined import blamed_on
from care_live.model.foreign import MeasureHalo, describe_graph, load_foreign, write_foreign
from care_live.model.graph import set_nodes
from care_live.model.onnx_builder import OnnxBuilder

_LARGEST_BYTES = 2**31
_LARGEST_DESCRIPTION_BYTES = 2**20
_MOST_FILES = 1000
_NAMES = ("bioimageio.yaml", "rdf.yaml")


@dataclass(frozen=True, slots=True)
class ProcessingStep:
    """One step of a description that is done to an image."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Description:
    """What matters of a description, whatever its format."""

    folder: Path
    name: str
    author: str
    licence: str
    weights: Path
    before: tuple[ProcessingStep, ...]
    after: tuple[ProcessingStep, ...]
    test_input: Path | None
    test_output: Path | None


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What its model card states."""

    kind: Literal["percentile", "zero-mean-unit-variance", "none"] = "none"
    low_percentile: float = 2.0
    high_percentile: float = 99.8


@contextlib.contextmanager
def opened(source: Path) -> Iterator[Path]:
    """Give a model's folder; a zip, as the zoo's pages offer it, is unpacked for as long as it is needed.

    Raises
    ------
    ModelError
        The file is not a zip, or would fill the disk.
    """
    if source.is_dir():
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        with blamed_on(f"{source} is neither a folder nor a zip that can be read"), zipfile.ZipFile(source) as packed:
            _refuse_bomb(packed, source)
            packed.extractall(folder)
        yield Path(folder)


def _refuse_bomb(packed: zipfile.ZipFile, source: Path) -> None:
    """Refuse a zip that would fill the disk; of each entry no more is unpacked than it announces."""
    entries = packed.infolist()
    n_bytes = sum(entry.file_size for entry in entries)
    if n_bytes > _LARGEST_BYTES or len(entries) > _MOST_FILES:
        raise ModelError(
            f"{source} unpacks to {len(entries)} files of {n_bytes / 2**20:.0f} MiB: a restoration network is smaller"
        )


def import_bioimageio(folder: Path, out: Path, *, measure: MeasureHalo) -> ModelCard:
    """Write a model of the zoo as one ONNX file with its card.

    Raises
    ------
    ModelError
        A file is missing or not the one described, or the description wants what cannot be done live.
    """
    description = read_description(folder)
    network = load_foreign(description.weights)
    with blamed_on(f"{folder} describes steps that cannot be read"):
        normalisation, arithmetic = _split(description)
        _prepend(network, arithmetic)
        _append(network, [step for step in description.after if step.name != "ensure_dtype"])
    name = re.sub(r"[^0-9A-Za-z_.-]+", "-", description.name)[:64]
    card = describe_graph(network, name).model_copy(
        update={
            "normalisation": normalisation.kind,
            "low_percentile": normalisation.low_percentile,
            "high_percentile": normalisation.high_percentile,
            "boundary": "reflect",
            "author": description.author,
            "licence": description.licence,
            "network": f"bioimage.io: {description.name}",
        }
    )
    return write_foreign(network, out, card, measure=measure)


def read_description(folder: Path) -> Description:
    """Read a description of format 0.4 or 0.5.

    Raises
    ------
    ModelError
        The description is missing or unreadable, or its ONNX weights are missing or not the ones described.
    """
    path = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    if path is None:
        raise ModelError(f"{folder} has no {' or '.join(_NAMES)}: it is not a bioimage.io model")
    if path.stat().st_size > _LARGEST_DESCRIPTION_BYTES:
        raise ModelError(f"{path} has {path.stat().st_size} bytes: a description has at most a million")
    yaml = need("yaml", extra="import")
    with blamed_on(f"{path} is not YAML"):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    with blamed_on(f"{path} describes no model in format 0.4 or 0.5"):
        return _described(tree, folder)


def _described(tree: Mapping[str, Any], folder: Path) -> Description:
    if len(tree["inputs"]) != 1:
        raise ModelError(f"{folder} takes {len(tree['inputs'])} images: only networks that take one can be imported")
    taken, given = tree["inputs"][0], tree["outputs"][0]
    return Description(
        folder=folder,
        name=_text(tree["name"]),
        author=", ".join(_text(author["name"]) for author in tree.get("authors", [])),
        licence=_text(tree.get("license") or ""),
        weights=_weights(tree, folder),
        before=_steps(taken.get("preprocessing", [])),
        after=_steps(given.get("postprocessing", [])),
        test_input=_test_file(tree, taken, "test_inputs", folder),
        test_output=_test_file(tree, given, "test_outputs", folder),
    )


def _weights(tree: Mapping[str, Any], folder: Path) -> Path:
    entry = tree["weights"].get("onnx")
    if entry is None:
        raise ModelError(f"{folder} has weights for {', '.join(tree['weights'])} but not for onnx: convert them first")
    path = _inside(folder, entry["source"])
    if not path.is_file():
        raise ModelError(f"{folder} lacks its weights {entry['source']}: download the whole model")
    wanted = entry.get("sha256")
    if wanted and hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise ModelError(f"{path} is not the file that its description names: its sha256 is not {wanted[:12]}…")
    return path


def _steps(entries: Sequence[Mapping[str, Any]]) -> tuple[ProcessingStep, ...]:
    """Format 0.5 calls a step's name its id."""
    return tuple(
        ProcessingStep(_text(entry.get("id", entry.get("name"))), dict(entry.get("kwargs") or {})) for entry in entries
    )


def _test_file(tree: Mapping[str, Any], tensor: Mapping[str, Any], key: str, folder: Path) -> Path | None:
    found = tensor["test_tensor"]["source"] if "test_tensor" in tensor else (tree.get(key) or [None])[0]
    if not found:
        return None
    path = _inside(folder, found)
    return path if path.is_file() else None


def _inside(folder: Path, name: object) -> Path:
    """Return a file of the model's own folder; a description may name no other."""
    text = _text(name)
    if PurePosixPath(text).is_absolute() or Path(text).is_absolute() or ".." in Path(text).parts:
        raise ModelError(f"{folder} names the file {text}, which lies outside of it")
    return folder / text


def _text(value: object) -> str:
    """Return a text of a description; a list of lists, which a few lines of YAML make endless, is never printed."""
    if not isinstance(value, str | int | float):
        raise TypeError(f"wanted a text, found {type(value).__name__}")
    return str(value)[:1000]


def _split(description: Description) -> tuple[Normalisation, list[ProcessingStep]]:
    """Separate what needs the image's own statistics, for the card, from arithmetic, for the graph."""
    steps = [step for step in description.before if step.name != "ensure_dtype"]
    if not steps or not _is_statistic(steps[0]):
        return Normalisation(), steps
    return _normalisation(steps[0], description.folder), steps[1:]


def _is_statistic(step: ProcessingStep) -> bool:
    return step.name in {"zero_mean_unit_variance", "scale_range"} and step.settings.get("mode") != "fixed"


def _normalisation(step: ProcessingStep, folder: Path) -> Normalisation:
    settings = step.settings
    if settings.get("reference_tensor") or settings.get("mode") == "per_dataset":
        raise ModelError(f"{folder} normalises by other images than the one it gets: that cannot be done live")
    if step.name == "zero_mean_unit_variance":
        return Normalisation("zero-mean-unit-variance")
    return Normalisation(
        "percentile", float(settings.get("min_percentile", 0.0)), float(settings.get("max_percentile", 100.0))
    )


def _prepend(network: onnx.ModelProto, steps: Sequence[ProcessingStep]) -> None:
    """Put arithmetic before the graph's first layer."""
    graph = network.graph
    weights = {tensor.name for tensor in graph.initializer}
    source = next(value.name for value in graph.input if value.name not in weights)
    before, last = _arithmetic(graph, steps, source, "before")
    for node in graph.node:
        node.input[:] = [last if name == source else name for name in node.input]
    set_nodes(graph, [*before.nodes, *graph.node])
    graph.initializer.extend(before.constants)


def _append(network: onnx.ModelProto, steps: Sequence[ProcessingStep]) -> None:
    """Put arithmetic behind the graph's first output, which keeps its name."""
    graph = network.graph
    if not steps:
        return
    result, inner = graph.output[0].name, f"{graph.output[0].name}_of_the_network"
    for node in graph.node:
        node.input[:] = [inner if name == result else name for name in node.input]
        node.output[:] = [inner if name == result else name for name in node.output]
    after, last = _arithmetic(graph, steps, inner, "after")
    after.add("Identity", last, output=result)
    after.append_to(graph)


def _arithmetic(
    graph: onnx.GraphProto, steps: Sequence[ProcessingStep], source: str, prefix: str
) -> tuple[OnnxBuilder, str]:
    """Return the operations and the name of their result."""
    written = OnnxBuilder(f"{prefix}_")

    def add(op: str, *numbers: object) -> None:
        nonlocal source
        source = written.add(op, source, *(_per_channel(number, graph) for number in numbers))

    for step in steps:
        _add_step(step, add)
    return written, source


def _add_step(step: ProcessingStep, add: Any) -> None:
    settings = step.settings
    if step.name == "sigmoid":
        add("Sigmoid")
    elif step.name == "clip":
        add("Max", settings.get("min", -math.inf))
        add("Min", settings.get("max", math.inf))
    elif step.name == "scale_linear":
        add("Mul", settings.get("gain", 1.0))
        add("Add", settings.get("offset", 0.0))
    elif step.name in {"fixed_zero_mean_unit_variance", "zero_mean_unit_variance"}:
        add("Sub", settings["mean"])
        add("Div", np.asarray(settings["std"]) + float(settings.get("eps", 1e-6)))
    else:
        raise ModelError(f"the description asks for {step.name}, which cannot be done live")


def _per_channel(number: object, graph: onnx.GraphProto) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return one number, or one for each channel, in a shape that meets (n, c, …space)."""
    values = np.asarray(number, np.float32)
    n_axes = len(graph.input[0].type.tensor_type.shape.dim) - 2
    return values if values.ndim == 0 else values.reshape(-1, *(1,) * n_axes)
