"""CSBDeep models made here: seeded weights in Keras's legacy layout, and what they compute, with torch."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.nn import functional

Layers = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name: kernel (…space, c_in, c_out), bias."""


def config_of(axes: str = "YXC", **changes: Any) -> dict[str, Any]:
    values = {
        "axes": axes,
        "n_dim": len(axes) - 1,
        "n_channel_in": 1,
        "n_channel_out": 1,
        "probabilistic": True,
        "unet_residual": True,
        "unet_n_depth": 2,
        "unet_kern_size": 3,
        "unet_n_first": 4,
        "unet_last_activation": "linear",
        "train_checkpoint": "weights_best.h5",
        **changes,
    }
    if values["n_channel_in"] != values["n_channel_out"]:
        values["unet_residual"] = False
    return values


def seeded_layers(config: dict[str, Any], seed: int = 1) -> Layers:
    """Every layer of the U-Net, in CSBDeep's order and with CSBDeep's names."""
    random = np.random.default_rng(seed)
    depth, first, n_dim = config["unet_n_depth"], config["unet_n_first"], config["n_dim"]
    layers: Layers = {}
    channels = config["n_channel_in"]

    def add(name: str, c_out: int, size: int) -> None:
        nonlocal channels
        shape = (*(size,) * n_dim, channels, c_out)
        gain = np.sqrt(2 / np.prod(shape[:-1]))
        layers[name] = (random.normal(0, gain, shape).astype("f4"), random.normal(0, 0.1, c_out).astype("f4"))
        channels = c_out

    size = config["unet_kern_size"]
    for n in range(depth):
        for i in (0, 1):
            add(f"down_level_{n}_no_{i}", first * 2**n, size)
    add("middle_0", first * 2**depth, size)
    add("middle_2", first * 2 ** max(0, depth - 1), size)
    for n in reversed(range(depth)):
        channels += first * 2**n
        add(f"up_level_{n}_no_0", first * 2**n, size)
        add(f"up_level_{n}_no_2", first * 2 ** max(0, n - 1), size)
    features = channels
    for name in [f"conv{n_dim}d_7", f"conv{n_dim}d_8"][: 2 if config["probabilistic"] else 1]:
        channels = features
        add(name, config["n_channel_out"], 1)
    return layers


def save_model(folder: Path, config: dict[str, Any], layers: Layers, *, old_keras: bool = False) -> Path:
    """Write config.json and weights; an old Keras nests whole models and puts ``:0`` behind names."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    suffix = ":0" if old_keras else ""
    with h5py.File(folder / "weights_best.h5", "w") as opened:
        tree = opened.create_group("model_weights") if old_keras else opened
        tree.attrs["layer_names"] = [b"input", *[name.encode() for name in layers]]
        tree.create_group("input").attrs["weight_names"] = []
        for name, (kernel, bias) in layers.items():
            group = tree.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel{suffix}".encode(), f"{name}/bias{suffix}".encode()]
            group[f"{name}/kernel{suffix}"] = kernel
            group[f"{name}/bias{suffix}"] = bias
    return folder


def compute(config: dict[str, Any], layers: Layers, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return mean and scale for (n, …space in the network's own order, c) normalised input."""
    n_dim = config["n_dim"]
    convolve = functional.conv2d if n_dim == 2 else functional.conv3d
    pool = functional.max_pool2d if n_dim == 2 else functional.max_pool3d
    tensors = {
        name: (torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy()), torch.from_numpy(bias))
        for name, (kernel, bias) in layers.items()
    }

    def layer(name: str, source: torch.Tensor) -> torch.Tensor:
        return convolve(source, *tensors[name], padding="same")

    def level(names: list[str], source: torch.Tensor) -> torch.Tensor:
        for name in names:
            source = torch.relu(layer(name, source))
        return source

    given = features = torch.from_numpy(np.moveaxis(x, -1, 1).astype("f4"))
    skips = []
    for n in range(config["unet_n_depth"]):
        skips.append(level([f"down_level_{n}_no_0", f"down_level_{n}_no_1"], features))
        features = pool(skips[-1], 2)
    features = level(["middle_0", "middle_2"], features)
    for n in reversed(range(config["unet_n_depth"])):
        wide = functional.interpolate(features, scale_factor=2, mode="nearest")
        features = level([f"up_level_{n}_no_0", f"up_level_{n}_no_2"], torch.cat([wide, skips[n]], 1))
    mean = layer(f"conv{n_dim}d_7", features)
    mean = mean + given if config["unet_residual"] else mean
    mean = torch.relu(mean) if config["unet_last_activation"] == "relu" else mean
    back = lambda tensor: np.moveaxis(tensor.numpy(), 1, -1)  # noqa: E731
    if not config["probabilistic"]:
        return back(mean), None
    return back(mean), back(functional.softplus(layer(f"conv{n_dim}d_8", features)) + 1e-3)


def weighing_layers(config: dict[str, Any], seed: int = 3) -> Layers:
    """Every layer of the network that weighs planes, in computing order."""
    random = np.random.default_rng(seed)
    n_inner = config["proj_n_conv_per_depth"] * (2 * config["proj_n_depth"] + 1)
    channels = [config["n_channel_in"], *[config["proj_n_filt"]] * n_inner, 1]
    layers: Layers = {}
    for i, (c_in, c_out) in enumerate(itertools.pairwise(channels)):
        shape = (*config["proj_kern"], c_in, c_out)
        gain = 2 / np.sqrt(np.prod(shape[:-1]))
        layers[f"conv3d_{i}"] = (random.normal(0, gain, shape).astype("f4"), random.normal(0, 0.1, c_out).astype("f4"))
    return layers


def project(config: dict[str, Any], layers: Layers, x: np.ndarray) -> np.ndarray:
    """Return the weighted sum of planes, (n, y, x, c), of (n, z, y, x, c)."""
    numbers = iter(layers.values())

    def convolve(source: torch.Tensor) -> torch.Tensor:
        kernel, bias = next(numbers)
        weight = torch.from_numpy(np.moveaxis(kernel, (-1, -2), (0, 1)).copy())
        return functional.conv3d(source, weight, torch.from_numpy(bias), padding="same")

    def level(source: torch.Tensor) -> torch.Tensor:
        for _ in range(config["proj_n_conv_per_depth"]):
            source = torch.relu(convolve(source))
        return source

    pool = tuple(config["proj_pool"])
    given = features = torch.from_numpy(np.moveaxis(x, -1, 1).astype("f4"))
    for _ in range(config["proj_n_depth"]):
        features = functional.max_pool3d(level(features), pool)
    features = level(features)
    for _ in range(config["proj_n_depth"]):
        features = level(functional.interpolate(features, scale_factor=tuple(map(float, pool)), mode="nearest"))
    weights = torch.softmax(convolve(features), dim=2)
    return np.moveaxis((given * weights).sum(2).numpy(), 1, -1)
