"""Beginning with the weights of another network: a training run, or an ONNX file that care_live exported.

What fits by name and shape is taken over, so that channels and heads may differ. An exported file has its batch norms
folded into the convolutions: they are unfolded again, with the statistics that the first training patches have.
"""

# torch is not analysed (pyproject), so its classes are Any here.

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from care_live.errors import TrainingError
from care_live.imports import need
from care_live.model import file
from care_live.model.rewrite import gathered_weight
from care_live.training.architecture import Standardised
from care_live.training.checkpoint import StateDict, load_state, read_recipe
from care_live.training.network_recipe import POOL_PX, NetworkRecipe
from care_live.training.unet import ConvolutionLayer, UNet

_MEMBER = "ensemble.members."
_FIRST = "encoder.0.0.convolution.weight"
_INSIDE = "network."
"""What stands before the names of a network between standardised images."""
_ENOUGH = 0.5
"""Of the kernels of a network must fit, or the start is no start."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """Another network."""

    path: Path
    network: NetworkRecipe
    """Its architecture."""
    members: tuple[StateDict, ...]
    """Weights by the names of a U-Net, one a member."""
    is_folded: bool
    """Whether batch norms are folded into the convolutions."""


def open_start(path: Path) -> StartingPoint:
    """Read the network to begin with.

    Parameters
    ----------
    path : folder of a training run, an ONNX file, or *forms*, which is shipped

    Raises
    ------
    TrainingError
        It is neither, or not a U-Net that care_live trained.
    """
    if not path.exists() and str(path) == "forms":
        path = file.shipped("forms")
    if path.is_dir():
        folders = sorted(path.glob("member-*"), key=lambda folder: int(folder.name.split("-")[1]))
        checkpoints = [folder / "best.pt" for folder in folders] or [path / "member-0" / "best.pt"]
        states = [load_state(checkpoint, None, torch.device("cpu"))[0].averaged for checkpoint in checkpoints]
        members = tuple({_plain(name): value for name, value in state.items()} for state in states)
        return StartingPoint(path, read_recipe(checkpoints[0]).network, members, False)
    return _open_exported(path)


def _open_exported(path: Path) -> StartingPoint:
    numpy_helper = need("onnx", extra="cpu").numpy_helper
    card, proto = file.read_card(path), file.load(path)
    stored = {entry.name: np.array(numpy_helper.to_array(entry)) for entry in proto.graph.initializer}
    named = {name.removeprefix(_MEMBER): value for name, value in stored.items() if name.startswith(_MEMBER)}
    numbers = sorted({int(name.split(".")[0]) for name in named})
    inside = [{n.split(".", 1)[1]: v for n, v in named.items() if n.startswith(f"{number}.")} for number in numbers]
    if not inside or _FIRST not in {_plain(name) for name in inside[0]}:
        raise TrainingError(
            f"{path} is no U-Net that care_live exported: begin with one of those, or with a run's folder"
        )
    plain = [{_plain(name): value for name, value in member.items()} for member in inside]
    first = plain[0][_FIRST]
    tree = {
        "axes": card.axes,
        "depth": len({name.split(".")[1] for name in plain[0] if name.startswith("encoder.")}),
        "filters": first.shape[0],
        "kernel_px": first.shape[-1],
        "look_ahead": _look_ahead(card.network, plain[0]) if card.axes == "ZYX" else None,
        "first_skip": "no first skip" not in card.network,
        "blur_pool": "blurred pooling" in card.network,
        "residual": "not residual" not in card.network and len(card.channels_in) == len(card.channels_out),
        "standardise": any(name.startswith(_INSIDE) for name in inside[0]),
    }
    members = tuple(_unspread(member, POOL_PX[card.axes]) for member in plain)
    return StartingPoint(path, NetworkRecipe.model_validate(tree), members, True)


def _look_ahead(described: str, member: dict[str, Any]) -> int | None:
    """Return how many planes ahead an exported network looks; None: all of its kernels look both ways."""
    said = re.search(r"looks (\d+) planes ahead", described)
    if said is None or not any(value.ndim == 5 for value in member.values()):
        return None
    return int(said[1])


def _unspread(member: dict[str, Any], pool_px: tuple[int, ...]) -> StateDict:
    """Return the weights with every transposed decoder as the convolution that it was trained as."""
    weights = {name: torch.from_numpy(value) for name, value in member.items() if not name.startswith("joins.")}
    for name, value in member.items():
        if not name.endswith(".below.weight"):
            continue
        join = name.removesuffix(".below.weight")
        below, skip = gathered_weight(value, pool_px), member.get(f"{join}.skip.weight")
        if below is None:
            raise TrainingError(f"the decoder {join} does not pool by {pool_px}: begin with its run's folder")
        whole = below if skip is None else np.concatenate([below, skip], axis=1)
        bias = member[f"{join}.{'below' if skip is None else 'skip'}.bias"]
        weights[f"{join}.convolution.convolution.weight"] = torch.from_numpy(whole)
        weights[f"{join}.convolution.convolution.bias"] = torch.from_numpy(bias)
    weights |= {name: torch.from_numpy(value) for name, value in member.items() if ".convolution.convolution." in name}
    return weights


def begin(network: nn.Module, start: StartingPoint, *, member: int, seen: Tensor) -> None:
    """Take over what fits.

    Parameters
    ----------
    network : freshly built
    member : of the ensemble; begins with the start's member of that number, in turn
    seen : (n, c, [z,] y, x) training patches, for batch norms

    Raises
    ------
    TrainingError
        Less than half of the kernels fit.
    """
    inner = network.network if isinstance(network, Standardised) else network
    weights = start.members[member % len(start.members)]
    own, lags = inner.state_dict(), _lags(inner)
    cut = {name: middle_of(value, own[name].shape) for name, value in weights.items() if name in own}
    cut |= _looking_as_far(cut, lags, start.network)
    if _FIRST in cut and inner.recipe.past:
        cut[_FIRST] = blind_to_past(cut[_FIRST], own[_FIRST].shape[1])
    fits = {name: value for name, value in cut.items() if own[name].shape == value.shape}
    kernels = [name for name, value in own.items() if value.ndim > 2]
    n_fit = sum(name in fits for name in kernels)
    if n_fit < _ENOUGH * len(kernels):
        raise TrainingError(
            f"{start.path} is {start.network.describe()}: only {n_fit} of {len(kernels)} kernels fit; "
            "give the network the same depth, filters, kernel and axes"
        )
    inner.load_state_dict(own | fits)
    if start.is_folded:
        _unfold(network, inner, weights, seen)


def blind_to_past(kernel: Tensor, n_inputs: int) -> Tensor:
    """Return a first kernel (n_out, n_in, [z,] y, x) that reads n inputs, and at first nothing of earlier frames.

    These are the further inputs. One that does not fit stays as it is.
    """
    n_more = n_inputs - kernel.shape[1]
    if n_more <= 0 or n_inputs % kernel.shape[1]:
        return kernel
    return torch.cat([kernel, kernel.new_zeros(len(kernel), n_more, *kernel.shape[2:])], dim=1)


def middle_of(kernel: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the middle of a kernel (n_out, n_in, [z,] y, x) that reaches farther than the wanted one.

    On a single plane a 3D kernel computes what its middle plane does in 2D, so a 3D network may begin a 2D one.
    """
    if kernel.ndim < 3 or kernel.ndim < len(shape):
        return kernel
    if kernel.ndim > len(shape):
        kernel = kernel[:, :, kernel.shape[2] // 2]
    for axis, (has, wants) in enumerate(zip(kernel.shape[2:], shape[2:], strict=True), start=2):
        kernel = kernel.narrow(axis, max(0, has - wants) // 2, min(has, wants))
    return kernel


def _lags(network: nn.Module) -> dict[str, int]:
    """Return by how many planes the kernels of each layer lag, by the names of their weights."""
    layers = ((name, layer) for name, layer in network.named_modules() if isinstance(layer, ConvolutionLayer))
    return {f"{name}.convolution.weight": layer.lag for name, layer in layers}


def _looking_as_far(weights: StateDict, lags: dict[str, int], start: NetworkRecipe) -> StateDict:
    """Return the kernels that look other planes ahead than they did in the network that one begins with."""
    if start.look_ahead is None and not any(lags.values()):
        return {}
    before = _lags(UNet(start))
    steps = {name: lag - before.get(name, 0) for name, lag in lags.items() if name in weights}
    return {name: moved(weights[name], step) for name, step in steps.items() if step}


def moved(kernel: Tensor, step: int) -> Tensor:
    """Return a kernel (n_out, n_in, z, y, x) that lies `step` planes farther back than before, over the same specimen.

    What would read planes that it no longer reaches reads the last one, or the first one, that it does.
    """
    last = kernel.shape[2] - 1
    places = (torch.arange(last + 1) + step).clamp(0, last)
    return torch.zeros_like(kernel).index_add_(2, places, kernel)


def _unfold(network: nn.Module, inner: nn.Module, weights: StateDict, seen: Tensor) -> None:
    """Set each batch norm so that it adds the folded bias to what the seen patches give, and nothing else."""
    hooks = []
    for name, layer in inner.named_modules():
        bias = weights.get(f"{name}.convolution.bias")
        if isinstance(layer, ConvolutionLayer) and not isinstance(layer.norm, nn.Identity) and bias is not None:
            hooks.append(layer.norm.register_forward_pre_hook(_setter(bias)))
    with torch.no_grad():
        network.eval()(seen)
    for hook in hooks:
        hook.remove()


def _setter(bias: Tensor) -> Any:
    def set_norm(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)  # (channels, n · voxels)
        mean, variance = values.mean(dim=1), values.var(dim=1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)

    return set_norm


def keep_kernels(network: nn.Module) -> None:
    """Leave only gains and biases to training.

    References
    ----------
    Mohan et al., "Adaptive denoising via GainTuning", NeurIPS 2021.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.ndim <= 1)


def _plain(name: str) -> str:
    return name.removeprefix(_INSIDE)
