"""From a training run to one ONNX file: everything inside, checked by numbers, its halo measured.

The graph takes raw counts with the span's low and high, normalises, runs every member, merges them and
gives camera counts back. It is compared with torch, through the very session that restores, on three shapes.
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from care_live.errors import CareLiveError
from care_live.imports import need
from care_live.maps import Head
from care_live.model import checks, file
from care_live.model.card import METADATA_KEY, ModelCard, NetworkVerdict, unnamed_channels
from care_live.model.padding import fold_padding
from care_live.restore import probe
from care_live.training.architecture import build
from care_live.training.checkpoint import load_state, read_recipe
from care_live.training.data import training_domain
from care_live.training.data.training_domain import KnownInputs
from care_live.training.ensemble import Ensemble
from care_live.training.evaluation import calibrate
from care_live.training.evaluation.filter_verdict import load as load_verdict
from care_live.training.evaluation.inference import open_engine
from care_live.training.network_recipe import NetworkRecipe
from care_live.training.parity import check_against_torch
from care_live.training.recipe import Recipe
from care_live.training.unet import for_export

logger = logging.getLogger(__name__)

OPSET = 20


class Deployed(nn.Module):
    """What goes into the file: counts in, counts out."""

    def __init__(self, ensemble: Ensemble, recipe: NetworkRecipe, *, undo: tuple[int, ...] | None) -> None:
        super().__init__()
        self.ensemble, self.n_dim = ensemble, 3 if recipe.projection else len(recipe.axes)
        self.projects = recipe.projection
        self.undoes, self.chosen = undo is not None, undo if undo != tuple(range(recipe.n_inputs)) else None

    def forward(self, raw: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
        spread = (1, -1, *[1] * self.n_dim)
        low, width = low.reshape(spread), (high - low).reshape(spread)
        mean, scale, disagreement = self.ensemble((raw.to(torch.float32) - low) / width)
        if self.projects:
            mean, scale, disagreement = (
                None if out is None else out[:, :, None] for out in (mean, scale, disagreement)
            )
        if self.chosen is not None:
            low, width = (torch.cat([bound[:, c : c + 1] for c in self.chosen], dim=1) for bound in (low, width))
        if self.undoes:
            mean = mean * width + low
            scale = scale if scale is None else scale * width
        return tuple(output for output in (mean, scale, disagreement) if output is not None)


def export(run: Path, out: Path, *, checkpoint: str = "best.pt", commit: str = "") -> ModelCard:
    """Write the network of a training run, or the ensemble of its members, as one ONNX file.

    Parameters
    ----------
    run : folder of a training run, with ``member-0``, ``member-1``, …
    checkpoint : ``best.pt`` or ``last.pt``

    Returns
    -------
    ModelCard
        As stored in the file.

    Raises
    ------
    TrainingError
        There is no checkpoint, or it is broken.
    ModelError
        ONNX Runtime and torch differ by more than 1e-5 of the range.
    """
    folders = sorted(run.glob("member-*"), key=lambda folder: int(folder.name.split("-")[1]))
    paths = [folder / checkpoint for folder in folders] or [run / "member-0" / checkpoint]
    recipe = read_recipe(paths[0])
    members = [load_member(path, recipe) for path in paths]
    n_updates = load_state(paths[0], None, torch.device("cpu"))[0].update
    known, samples = training_domain.load(run)
    card = export_members(
        members,
        recipe,
        out,
        n_updates=n_updates,
        commit=commit,
        fingerprints=_fingerprints(run),
        verdict=load_verdict(run),
        known=known,
    )
    return _with_features(card, out, samples) if samples else card


def _with_features(card: ModelCard, out: Path, samples: Sequence[Any]) -> ModelCard:
    """Write what the network makes of its training's inputs into its card; without it the file works, too."""
    try:
        card = calibrate.with_features(card, open_engine(out), samples)
        file.write_card(out, card)
    except CareLiveError as error:
        logger.warning("structures of training not measured path=%s reason=%s", out, error)
    return card


def load_member(path: Path, recipe: Recipe) -> nn.Module:
    """Return the network of a checkpoint, with its averaged weights, in evaluation mode."""
    state, _ = load_state(path, None, torch.device("cpu"))
    network = build(recipe.network)
    network.load_state_dict(state.averaged)
    return network.eval()


def export_members(
    members: Sequence[nn.Module],
    recipe: Recipe,
    out: Path,
    *,
    n_updates: int = 0,
    commit: str = "",
    fingerprints: tuple[str, ...] = (),
    verdict: NetworkVerdict | None = None,
    known: KnownInputs | None = None,
) -> ModelCard:
    """Write networks as one ONNX file; see `export`."""
    undo = undoing_channels(recipe)
    deployed = Deployed(Ensemble([for_export(member) for member in members]), recipe.network, undo=undo).eval()
    card = _card(recipe, members=len(members), undo=undo)
    known = known or KnownInputs()
    domain = training_domain.described(
        recipe, known.domain, n_updates=n_updates, commit=commit, fingerprints=fingerprints
    )
    voxel_size_um = card.voxel_size_um or known.voxel_size_um
    card = card.model_copy(update={"training": domain, "verdict": verdict, "voxel_size_um": voxel_size_um})
    out.parent.mkdir(parents=True, exist_ok=True)
    with file.replaced(out) as fresh:
        _write(deployed, card, fresh)
        card = card.model_copy(update={"halo_px": probe.measure_halo(fresh, card)})
        _write_card(fresh, card)
        deviation = check_against_torch(fresh, card, deployed)
        checks.check(fresh)
    logger.info("exported path=%s halo_px=%s deviation=%.1e", out, card.halo_px, deviation)
    return card


def undoing_channels(recipe: Recipe) -> tuple[int, ...] | None:
    """Return, for each output channel, the input channel whose span puts it back into counts.

    None: the outputs are no inputs, so they stay normalised. Channels are matched by number where there are
    as many out as in, else by name.
    """
    n_in, n_out = recipe.network.n_channels_in, recipe.network.n_channels_out
    if n_in == n_out:
        return tuple(range(n_out))
    named = recipe.card.channels_in
    if len(named) == n_in and all(name in named for name in recipe.card.channels_out):
        return tuple(named.index(name) for name in recipe.card.channels_out)
    return None


def _card(recipe: Recipe, *, members: int, undo: tuple[int, ...] | None) -> ModelCard:
    network = recipe.network
    heads: list[Head] = ["mean"]
    if network.probabilistic:
        heads += ["laplace_scale"]
        heads += ["disagreement"] if members > 1 else []
    data = recipe.data
    voxel_sizes = getattr(data, "voxel_sizes_um", ())
    axes = "ZYX" if network.projection else network.axes
    divisor = (1, *network.divisor) if network.projection else network.divisor
    return ModelCard(
        name=recipe.name,
        task=recipe.task,
        axes=axes,
        channels_in=_names(recipe.card.channels_in, network.n_channels_in),
        channels_out=_names(recipe.card.channels_out, network.n_channels_out),
        past=network.past,
        divisor=divisor,
        halo_px=(0,) * len(axes),
        heads=tuple(heads),
        members=members,
        output="counts" if undo is not None else "normalised",
        factor=getattr(data, "factor", 1.0),
        upsampled="own-range" if recipe.task == "upsample" else "raw-range",
        voxel_size_um=voxel_sizes[0] if voxel_sizes else None,
        network=network.describe(),
        author=recipe.card.author,
        licence=recipe.card.licence,
    )


def _names(given: tuple[str, ...], n: int) -> tuple[str, ...]:
    return given if len(given) == n else unnamed_channels(n)


def _fingerprints(run: Path) -> tuple[str, ...]:
    listed = run / "data.sha256"
    return tuple(listed.read_text(encoding="utf-8").split()) if listed.exists() else ()


def _write(deployed: Deployed, card: ModelCard, path: Path) -> None:
    """Trace the graph, give its axes their names, and write it without external data."""
    onnx = need("onnx", extra="cpu")
    need("onnxscript", extra="train")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxscript's own deprecations
        program = torch.onnx.export(
            deployed,
            _example(card),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["raw", "low", "high"],
            output_names=list(card.heads),
            dynamic_shapes=_dynamic(card),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _name_axes(proto, card)
    _plain_softplus(proto)
    fold_padding(proto.graph)
    _forget_traces(proto)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    _write_card(path, card)


def _write_card(path: Path, card: ModelCard) -> None:
    onnx = need("onnx", extra="cpu")
    proto = onnx.load_model_from_string(path.read_bytes())
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=card.model_dump_json())
    path.write_bytes(proto.SerializeToString())


def _example(card: ModelCard) -> tuple[Tensor, Tensor, Tensor]:
    space = [3 * step if step > 1 else 5 for step in card.divisor]
    n_channels = card.n_inputs
    raw = torch.randint(100, 1000, (2, n_channels, *space), dtype=torch.int32).to(torch.uint16)
    return raw, torch.full((n_channels,), 90.0), torch.full((n_channels,), 900.0)


def _dynamic(card: ModelCard) -> tuple[dict[int, object], ...]:
    """Return which sizes are free: batch, and every axis in multiples of the divisor."""
    from torch.export import Dim

    axes: dict[int, object] = {0: Dim("n", min=1)}
    for number, (name, step) in enumerate(zip(card.axes.lower(), card.divisor, strict=True)):
        axes[2 + number] = step * Dim(f"{name}_blocks", min=1) if step > 1 else Dim(name, min=1)
    return axes, {}, {}


def _name_axes(proto: Any, card: ModelCard) -> None:
    """Name the free sizes n, z, y, x at the inputs and outputs, so that a session can fix them by name."""
    names = ["n", None, *card.axes.lower()]
    graph = proto.graph
    del graph.value_info[:]
    for value in [graph.input[0], *graph.output]:
        dimensions = value.type.tensor_type.shape.dim
        for name, dimension in zip(names, dimensions, strict=True):
            if name is not None and not dimension.HasField("dim_value"):
                dimension.dim_param = name


def _forget_traces(proto: Any) -> None:
    """Remove from each operation the source file and line that made it: they name folders of this machine."""
    graph = proto.graph
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def _plain_softplus(proto: Any) -> None:
    """Take out torch's guard around Softplus (Greater and Where), which ONNX's own does not need."""
    nodes = proto.graph.node
    soft = {node.output[0]: node for node in nodes if node.op_type == "Softplus"}
    guards = [node for node in nodes if node.op_type == "Where" and set(node.input) & set(soft)]
    for guard in guards:
        inside = next(soft[name] for name in guard.input if name in soft)
        inside.output[0] = guard.output[0]
        tests = [node for node in nodes if node.output[0] == guard.input[0]]
        for node in (guard, *tests):
            nodes.remove(node)
