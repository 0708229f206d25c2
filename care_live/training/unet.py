"""CSBDeep's U-Net, in 2D and 3D, to be read from top to bottom; at the end, the same function with less work.

Level n of the encoder has two convolutions with ``filters · 2^n`` features each and is then pooled. The
bottom narrows back to the width of the level above it, and every decoder level upsamples, joins what its
encoder level saw, and narrows again. A 1×1 convolution gives the mean, a second one the Laplace scale.

For export, batch norm is folded into the convolution before it. "Nearest upsampling, join, convolve" is the sum of a
transposed convolution of the level below and a convolution of the skip: neither the large upsampled image
nor the joined one is ever made.

References
----------
Ronneberger, Fischer, Brox, MICCAI 2015; Weigert et al., Nature Methods 15, 1090 (2018).
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from care_live.model.rewrite import spread_matrix
from care_live.training.network_recipe import KernelWindow, NetworkRecipe


def convolve_upsampled(image: Tensor, weight: Tensor, pool_px: tuple[int, ...], *, lag: int = 0) -> Tensor:
    """Upsample an image to the nearest value and convolve it; gradients flow to both.

    Parameters
    ----------
    image : (n, n_in, [z,] y, x)
    weight : (n_out, n_in, kernel…), odd kernel
    pool_px : how often every value is repeated, one per axis
    lag : planes by which the kernel lies before the place that it writes

    Returns
    -------
    (n, n_out, [z·pool,] y·pool, x·pool), of the layout in memory that the image has
    """
    transposed = functional.conv_transpose3d if image.ndim == 5 else functional.conv_transpose2d
    result: Tensor = transposed(
        lagging(image, lag), spread_weight(weight, pool_px), stride=pool_px, padding=padding_of(weight.shape[2:], -lag)
    )
    return result


def padding_of(size_px: Sequence[int], lag: int = 0) -> tuple[int, ...]:
    """Return the zeros on each side with which a convolution keeps the size of an image that `lagging` gives.

    A transposed convolution takes off what a convolution puts on: its lag is negative here.
    """
    first, *others = (size // 2 for size in size_px)
    return (first - lag, *others)


def lagging(image: Tensor, lag: int) -> Tensor:
    """Return an image (n, c, z, y, x) with two planes of zeros for each plane of a kernel's lag before its first."""
    return functional.pad(image, (0, 0, 0, 0, 2 * lag, 0)) if lag else image


def spread_weight(weight: Tensor, pool_px: tuple[int, ...]) -> Tensor:
    """Return the kernel of the transposed convolution that equals "upsample by pool_px, then convolve".

    The same as `care_live.model.rewrite.spread_weight`, for gradients to flow through.

    Parameters
    ----------
    weight : (n_out, n_in, kernel…) of the convolution

    Returns
    -------
    (n_in, n_out, kernel + pool − 1…)
    """
    spread = weight
    for axis, step in enumerate(pool_px):
        matrix = torch.from_numpy(spread_matrix(weight.shape[2 + axis], step)).to(spread)
        spread = torch.tensordot(spread, matrix, dims=([2], [1]))  # the spread axis moves to the end
    return spread.transpose(0, 1).contiguous()


# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False


SMALLEST_SCALE = 1e-3
"""Laplace scale that the head cannot go below, in normalised units."""

FIRST_SCALE = -2.0
"""Bias of the scale head before training: softplus(-2) is 0.13, about the noise of a dim image."""

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_MAX_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class ConvolutionLayer(nn.Module):
    """'Same' convolution, batch norm where wanted, ReLU."""

    def __init__(self, n_in: int, n_out: int, recipe: NetworkRecipe, *, kernel: KernelWindow) -> None:
        super().__init__()
        n_dim, padding, self.lag = len(recipe.axes), padding_of(*kernel), kernel.lag
        bias = not recipe.batch_norm
        self.convolution = _CONVOLUTION[n_dim](n_in, n_out, kernel.size_px, padding=padding, bias=bias)
        self.norm = _NORM[n_dim](n_out) if recipe.batch_norm else nn.Identity()
        initialise(self.convolution, recipe.initialise)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.convolution(lagging(x, self.lag))))


class Join(nn.Module):
    """Nearest upsampling of the level below, beside this level's own features if it has any, into one convolution."""

    def __init__(self, widths: tuple[int, int, int], *, recipe: NetworkRecipe, kernel: KernelWindow) -> None:
        super().__init__()
        n_below, n_skip, n_out = widths
        self.pool_px, self.n_below = recipe.pool_px, n_below
        self.convolution = ConvolutionLayer(n_below + n_skip, n_out, recipe, kernel=kernel)

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        if self.training and below.device.type == "cpu":
            return self._without_upsampling(below, skip)
        above = functional.interpolate(below, scale_factor=[float(step) for step in self.pool_px], mode="nearest")
        joined: Tensor = self.convolution(above if skip is None else torch.cat([above, skip], dim=1))
        return joined

    def _without_upsampling(self, below: Tensor, skip: Tensor | None) -> Tensor:
        """Compute the same with a third of the products; on a CPU an update takes some 15 % less time."""
        layer = self.convolution
        weight, bias = layer.convolution.weight, layer.convolution.bias
        sums = convolve_upsampled(below, weight[:, : self.n_below], self.pool_px, lag=layer.lag)
        if skip is not None:
            convolve = functional.conv3d if skip.ndim == 5 else functional.conv2d
            own = weight[:, self.n_below :]
            sums = sums + convolve(lagging(skip, layer.lag), own, bias, padding=layer.convolution.padding)
        elif bias is not None:
            sums = sums + bias.reshape(-1, *[1] * (below.ndim - 2))
        return functional.relu(layer.norm(sums))


class BlockMaximum(nn.Module):
    """The largest of every block."""

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.pool_px = recipe.pool_px

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = _MAX_POOL[x.ndim - 2](x, self.pool_px)
        return pooled


class BlurredMaximum(BlockMaximum):
    """The largest of every block at every place, blurred, and then one of a block.

    References
    ----------
    Zhang, "Making convolutional networks shift-invariant again", ICML 2019.
    """

    def forward(self, x: Tensor) -> Tensor:
        largest = _MAX_POOL[x.ndim - 2](x, self.pool_px, stride=1)
        kernel = torch.ones((), dtype=x.dtype, device=x.device)
        for step in self.pool_px:
            line = torch.tensor([1 - abs(place) / step for place in range(1 - step, step)], dtype=x.dtype) / step
            kernel = kernel[..., None] * line.to(x.device)
        convolve = functional.conv3d if x.ndim == 5 else functional.conv2d
        padding = tuple(step - 1 for step in self.pool_px)
        weight = kernel.expand(x.shape[1], 1, *kernel.shape)
        return convolve(largest, weight, stride=self.pool_px, padding=padding, groups=x.shape[1])


class UNet(nn.Module):
    """Normalised image in; mean, or mean and Laplace scale, out.

    Parameters
    ----------
    recipe : depth, filters, kernel, pooling, heads

    Notes
    -----
    ``forward`` takes (n, c_in, [z,] y, x) float32 whose spatial sizes are multiples of `divisor` and gives
    (mean, scale), each (n, c_out, [z,] y, x); scale is None without the probabilistic head.
    """

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        width = [recipe.filters * 2**level for level in range(recipe.depth + 1)]
        narrow = [recipe.filters * 2 ** max(0, level - 1) for level in range(recipe.depth + 1)]
        kernels = iter(recipe.kernels)
        self.encoder = nn.ModuleList()
        n_features = recipe.n_inputs
        for level in range(recipe.depth):
            self.encoder.append(_pair((n_features, width[level], width[level]), recipe=recipe, kernels=kernels))
            n_features = width[level]
        self.bottom = _pair((n_features, width[-1], narrow[-1]), recipe=recipe, kernels=kernels)
        self.joins, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(recipe.depth)):
            n_skip = width[level] if level or recipe.first_skip else 0
            widths = (narrow[level + 1], n_skip, width[level])
            self.joins.append(Join(widths, recipe=recipe, kernel=next(kernels)))
            self.decoder.append(ConvolutionLayer(width[level], narrow[level], recipe, kernel=next(kernels)))
        self.pool = BlurredMaximum(recipe) if recipe.blur_pool else BlockMaximum(recipe)
        self.mean_head = _head(narrow[0], recipe)
        self.scale_head = _head(narrow[0], recipe) if recipe.probabilistic else None
        if self.scale_head is not None:
            nn.init.constant_(self.scale_head.bias, FIRST_SCALE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.features(x)
        mean = _pointwise(self.mean_head, features)
        if self.recipe.residual:
            mean = mean + x
        if self.recipe.last_activation == "relu":
            mean = functional.relu(mean)
        if self.scale_head is None:
            return mean, None
        return mean, functional.softplus(_pointwise(self.scale_head, features)) + SMALLEST_SCALE

    def features(self, x: Tensor) -> Tensor:
        """Compute everything before the heads: (n, filters, [z,] y, x)."""
        skips: list[Tensor | None] = []
        for level in self.encoder:
            x = level(x)
            skips.append(x if skips or self.recipe.first_skip else None)
            x = self.pool(x)
        x = self.bottom(x)
        for join, convolution in zip(self.joins, self.decoder, strict=True):
            x = convolution(join(x, skips.pop()))
        return x


def initialise(layer: nn.Module, how: str) -> None:
    """Draw a convolution's weights.

    *glorot*, as CSBDeep; *he*, which keeps the variance through ReLU; *uniform*, up to 1/√(n_in · kernel) either way.
    """
    weight, bias = layer.weight, layer.bias
    if how == "glorot":
        nn.init.xavier_uniform_(weight)
    elif how == "uniform":
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    else:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    if bias is not None:
        nn.init.zeros_(bias)


def _pair(widths: tuple[int, int, int], *, recipe: NetworkRecipe, kernels: Iterator[KernelWindow]) -> nn.Sequential:
    layers = [ConvolutionLayer(*each, recipe, kernel=next(kernels)) for each in itertools.pairwise(widths)]
    return nn.Sequential(*layers)


def _pointwise(head: nn.Module, features: Tensor) -> Tensor:
    """Apply a 1×1 convolution; in training on a CPU as the matrix product that it is, which copies no image."""
    if not (head.training and features.device.type == "cpu"):
        values: Tensor = head(features)
        return values
    weight = head.weight.flatten(1)  # (n_out, n_features)
    return functional.linear(features.movedim(1, -1), weight, head.bias).movedim(-1, 1)


def _head(n_features: int, recipe: NetworkRecipe) -> nn.Module:
    head = _CONVOLUTION[len(recipe.axes)](n_features, recipe.n_channels_out, 1)
    initialise(head, "uniform" if recipe.initialise == "uniform" else "glorot")
    if recipe.residual:
        with torch.no_grad():
            head.weight.mul_(0.1)  # start near "output = input"
    return head


def for_export(network: nn.Module) -> nn.Module:
    """Return an equal network for inference: batch norm folded, decoder as its recipe says."""
    rewritten = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)
    for module in list(rewritten.modules()):
        if isinstance(module, ConvolutionLayer):
            fold_batch_norm(module)
    for unet in rewritten.modules():
        if isinstance(unet, UNet) and unet.recipe.decoder == "transpose":
            unet.joins = nn.ModuleList(TransposedJoin(join) for join in unet.joins)
    return rewritten


def fold_batch_norm(layer: ConvolutionLayer) -> None:
    """Put the batch norm of a layer in evaluation mode into its convolution."""
    if isinstance(layer.norm, nn.Identity):
        return
    layer.convolution = fuse_conv_bn_eval(layer.convolution, layer.norm)
    layer.norm = nn.Identity()


class TransposedJoin(nn.Module):
    """What `Join` computes, as a transposed convolution plus a convolution."""

    def __init__(self, join: Join) -> None:
        super().__init__()
        whole = join.convolution.convolution
        weight, n_below = whole.weight.detach(), join.n_below
        self.lag = join.convolution.lag
        spread = spread_weight(weight[:, :n_below], join.pool_px)
        is_3d = weight.ndim == 5
        transposed, plain = (nn.ConvTranspose3d, nn.Conv3d) if is_3d else (nn.ConvTranspose2d, nn.Conv2d)
        n_skip, n_out = weight.shape[1] - n_below, weight.shape[0]
        size, cut = tuple(spread.shape[2:]), padding_of(weight.shape[2:], -self.lag)
        self.below = transposed(n_below, n_out, size, stride=join.pool_px, padding=cut, bias=not n_skip)
        self.below.weight = nn.Parameter(spread)
        self.skip = plain(n_skip, n_out, tuple(weight.shape[2:]), padding=whole.padding) if n_skip else None
        if self.skip is None:
            self.below.bias = whole.bias
        else:
            self.skip.weight = nn.Parameter(weight[:, n_below:].clone())
            self.skip.bias = whole.bias

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        sums: Tensor = self.below(lagging(below, self.lag))
        if self.skip is not None and skip is not None:
            sums = sums + self.skip(lagging(skip, self.lag))
        return functional.relu(sums)
