"""Networks that were trained with CSBDeep, as ONNX files that give what CSBDeep gives; no TensorFlow.

A CSBDeep model is a folder with ``config.json`` and weights. Its class (CARE, UpsamplingCARE, IsotropicCARE) is not
in there, so the user names the task; ProjectionCARE has parameters of its own. What CSBDeep does around the network
(2 and 99.8 percentiles of the volume, reflecting pads on both sides, the geometric mean of two turned views) goes
into the model card. Its intervals are as wide as CSBDeep's, uncalibrated. UpsamplingCARE rounds interpolated planes to
whole counts, and takes its percentiles from them; so do we. One thing differs on purpose: at some numbers of planes
(16 with a factor of 10, 28 with 3.4) scipy's zoom leaves CSBDeep's last plane black, and not ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from care_live.config import describe
from care_live.errors import ModelError
from care_live.model import checks, file, receptive_field
from care_live.model.card import ModelCard, Task, unnamed_channels
from care_live.model.confined import blamed_on
from care_live.model.keras import KerasLayer, read_layers, to_convolution
from care_live.model.projection_graph import ProjectionGraph, build_projecting
from care_live.model.unet_graph import UNetShape, build, convolution_shapes, heads

_LARGEST_CONFIG_BYTES = 2**20


class CsbdeepConfig(BaseModel):
    """``config.json``, as far as it shapes the network."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    axes: str
    n_channel_in: int = Field(ge=1)
    n_channel_out: int = Field(ge=1)
    probabilistic: bool = False
    unet_residual: bool
    unet_n_depth: int = Field(ge=1, le=6)
    unet_kern_size: int = Field(ge=1, le=15)
    unet_n_first: int = Field(ge=1, le=1024)
    unet_last_activation: Literal["linear", "relu"] = "linear"
    train_checkpoint: str | None = "weights_best.h5"
    proj_axis: str | None = None
    proj_n_depth: int = Field(default=4, ge=1, le=6)
    proj_n_filt: int = Field(default=8, ge=1, le=1024)
    proj_n_conv_per_depth: int = Field(default=1, ge=1, le=8)
    proj_kern: tuple[int, int, int] = (3, 3, 3)
    proj_pool: tuple[int, int, int] | None = None

    @property
    def space(self) -> str:
        """The network's spatial axes, in its own order."""
        return self.axes.replace("C", "")

    @property
    def projects(self) -> bool:
        return self.proj_axis is not None


def import_csbdeep(
    folder: Path, out: Path, *, task: Task | None = None, factor: float = 1.0, name: str | None = None
) -> ModelCard:
    """Write a CSBDeep model as an ONNX file with its card.

    Parameters
    ----------
    folder : Path
        Holds config.json and the weights.
    out : Path
        The ONNX file.
    task : Task, optional
        *isotropic* or *upsample* for a network of IsotropicCARE or UpsamplingCARE; others are recognised.
    factor : float
        Restored planes per raw plane, for these two.
    name : str, optional
        Of the network; none: the folder's.

    Raises
    ------
    ModelError
        A file is missing, cut off, or of a network that CSBDeep does not have.
    """
    with blamed_on(f"{folder} holds no sound CSBDeep model"):
        config = read_config(folder / "config.json")
        task = task or ("project" if config.projects else "denoise")
        _refuse_unfit(config, task, folder, factor)
        layers = read_layers(_weights_file(folder, config))
        network = _projecting(config, layers) if config.projects else _restoring(config, layers, task)
        card = _card(config, task, factor, name or re.sub(r"[^0-9A-Za-z_.-]", "-", folder.resolve().name)[:64])
    checks.check_card(card)
    with file.replaced(out) as fresh:
        onnx.save_model(network, fresh)
        file.write_card(fresh, card)
    return card


def read_config(path: Path) -> CsbdeepConfig:
    """Read and check ``config.json``.

    Raises
    ------
    ModelError
        It is missing, no JSON, or lacks what shapes the network.
    """
    try:
        if path.stat().st_size > _LARGEST_CONFIG_BYTES:
            raise ModelError(f"{path} has {path.stat().st_size} bytes: a CSBDeep config.json has less than a thousand")
        return CsbdeepConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}; a CSBDeep model has a config.json") from error
    except ValidationError as error:
        raise ModelError(f"{path} describes no CARE network: {describe(error)}") from error


def _refuse_unfit(config: CsbdeepConfig, task: Task, folder: Path, factor: float) -> None:
    canonical = "".join(axis for axis in "ZYX" if axis in config.space)
    if sorted(config.space) != sorted(canonical) or len(canonical) < 2:
        raise ModelError(f"{folder} is a network over {config.axes}: only YX and ZYX, with channels, can be imported")
    if (task == "project") != config.projects:
        raise ModelError(f"{folder} is {'a' if config.projects else 'no'} projection network: task {task} does not fit")
    if task == "isotropic" and config.space != "YX":
        raise ModelError(f"{folder} is a network over {config.space}: an isotropic one is over YX")
    if task == "upsample" and config.space == "YX":
        raise ModelError(f"{folder} is a network over YX: one that upsamples z is over ZYX")
    if task in {"isotropic", "upsample"} and factor <= 1:
        raise ModelError(f"task {task} needs the factor by which z was subsampled in training, more than 1")
    if config.projects and (config.proj_axis != "Z" or config.space != "ZYX"):
        raise ModelError(f"{folder} projects {config.proj_axis} of {config.space}: only Z of ZYX can be imported")
    kernels = (config.unet_kern_size, *(config.proj_kern if config.projects else ()))
    if any(size % 2 == 0 for size in kernels):
        raise ModelError(f"{folder} has kernels of even size {kernels}, which CSBDeep refuses, too")


def _weights_file(folder: Path, config: CsbdeepConfig) -> Path:
    """Return the best weights, or the only ones there are."""
    named = [folder / name for name in (config.train_checkpoint, "weights_best.h5", "weights_last.h5") if name]
    found = [path for path in named if path.is_file()] or sorted(folder.glob("*.h5"))
    if not found:
        raise ModelError(f"{folder} has no weights: neither {named[0].name} nor any other .h5 file")
    return found[0]


def _unet(config: CsbdeepConfig, axes: Literal["YX", "ZYX"], raw_type: Literal["uint16", "float32"]) -> UNetShape:
    n_axes = len(axes)
    return UNetShape(
        axes=axes,
        depth=config.unet_n_depth,
        filters=config.unet_n_first,
        kernel=(config.unet_kern_size,) * n_axes,
        pool=(2,) * n_axes,
        channels_in=config.n_channel_in,
        channels_out=config.n_channel_out,
        probabilistic=config.probabilistic,
        residual=config.unet_residual,
        last_activation=config.unet_last_activation,
        output=_output(config),
        raw_type=raw_type,
    )


def _output(config: CsbdeepConfig) -> Literal["counts", "normalised"]:
    """CSBDeep undoes its normalisation only where input and output have as many channels."""
    return "counts" if config.n_channel_in == config.n_channel_out else "normalised"


def _restoring(config: CsbdeepConfig, layers: list[KerasLayer], task: Task) -> onnx.ModelProto:
    axes: Literal["YX", "ZYX"] = "ZYX" if "Z" in config.space else "YX"
    order = tuple(config.space.index(axis) for axis in axes)
    if task == "isotropic":  # CSBDeep lays z along the second axis of its slices, we along the first
        order = (1, 0)
    unet = _unet(config, axes, "uint16")
    return build(unet, [to_convolution(layer, order) for layer in _in_order(unet, layers)])


def _projecting(config: CsbdeepConfig, layers: list[KerasLayer]) -> onnx.ModelProto:
    projection = _projection(config)
    n_weighing = len(projection.shapes)
    unet = _unet(config, "YX", "float32")
    weighing = [to_convolution(layer, (0, 1, 2)) for layer in layers[:n_weighing]]
    return build_projecting(
        projection, weighing, unet, [to_convolution(layer, (0, 1)) for layer in _in_order(unet, layers[n_weighing:])]
    )


def _projection(config: CsbdeepConfig) -> ProjectionGraph:
    return ProjectionGraph(
        depth=config.proj_n_depth,
        filters=config.proj_n_filt,
        convolutions=config.proj_n_conv_per_depth,
        kernel=config.proj_kern,
        pool=config.proj_pool or (1, 2, 2),
        channels_in=config.n_channel_in,
    )


def _in_order(unet: UNetShape, layers: list[KerasLayer]) -> list[KerasLayer]:
    """Sort layers as the graph computes them; the heads have no names of their own, but come last and in order."""
    named = {layer.name.rpartition("/")[2]: layer for layer in layers}
    unnamed = [layer for layer in layers if re.match(r"conv[23]d(_\d+)?$", layer.name.rpartition("/")[2])]
    if len(unnamed) != len(heads(unet)):
        raise ModelError(f"the weights have {len(unnamed)} heads, the config says {len(heads(unet))}")
    wanted = [_keras_name(name) for name, _ in convolution_shapes(unet)[: -len(unnamed)]]
    missing = [name for name in wanted if name not in named]
    if missing or len(layers) != len(wanted) + len(unnamed):
        raise ModelError(f"the weights have {len(layers)} layers and lack {missing}: config and weights do not belong")
    return [*(named[name] for name in wanted), *unnamed]


def _keras_name(ours: str) -> str:
    """In CSBDeep's names the last convolution of the bottom and of each level up has number 2, after 0."""
    stage, _, number = ours.rpartition("_")
    late = "2" if number == "1" else number
    if stage == "bottom":
        return f"middle_{late}"
    if stage.startswith("down"):
        return f"down_level_{stage.removeprefix('down')}_no_{number}"
    return f"up_level_{stage.removeprefix('up')}_no_{late}"


def _card(config: CsbdeepConfig, task: Task, factor: float, name: str) -> ModelCard:
    n_axes = len(config.space)
    divisor, halo_px = _projected_tiles(config) if config.projects else _tiles(config, n_axes)
    return ModelCard(
        name=name,
        task=task,
        axes="ZYX" if n_axes == 3 else "YX",
        channels_in=unnamed_channels(config.n_channel_in),
        channels_out=unnamed_channels(config.n_channel_out),
        divisor=divisor,
        halo_px=halo_px,
        heads=("mean", "laplace_scale") if config.probabilistic else ("mean",),
        low_percentile=2.0,
        high_percentile=99.8,
        output=_output(config),
        boundary="reflect",
        combine="geometric-mean",
        mirror_yz=task == "isotropic",
        factor=factor,
        upsampled="csbdeep" if task == "upsample" else "raw-range",
        network=(
            f"CSBDeep U-Net over {config.space}: depth {config.unet_n_depth}, {config.unet_n_first} filters, kernel "
            f"{config.unet_kern_size}, {'residual' if config.unet_residual else 'not residual'}, "
            f"last activation {config.unet_last_activation}"
        ),
    )


def _tiles(config: CsbdeepConfig, n_axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    divisor = 2**config.unet_n_depth
    wanted = receptive_field.Stretch(0, divisor - 1)
    read = receptive_field.unet_reads(wanted, depth=config.unet_n_depth, kernel=config.unet_kern_size, pool=2)
    return (divisor,) * n_axes, (receptive_field.halo(read, wanted),) * n_axes


def _projected_tiles(config: CsbdeepConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    projection = _projection(config)
    divisors, halos = [projection.pool[0] ** projection.depth], [0]  # z is read whole
    for axis in (1, 2):
        pool = projection.pool[axis]
        divisor = int(np.lcm(pool**projection.depth, 2**config.unet_n_depth))
        wanted = receptive_field.Stretch(0, divisor - 1)
        plane = receptive_field.unet_reads(wanted, depth=config.unet_n_depth, kernel=config.unet_kern_size, pool=2)
        kernel = projection.kernel[axis]
        read = receptive_field.projection_reads(
            plane, depth=projection.depth, kernel=kernel, pool=pool, convolutions=projection.convolutions
        )
        divisors.append(divisor)
        halos.append(receptive_field.halo(read, wanted))
    return tuple(divisors), tuple(halos)
