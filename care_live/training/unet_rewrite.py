"""Exact rewritings of a trained U-Net that make it faster: the same function with less work.

Batch norm is folded into the convolution before it. "Nearest upsampling, join, convolve" is the sum of a
transposed convolution of the level below and a convolution of the skip: neither the large upsampled image
nor the joined one is ever made.
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from care_live.training.unet import ConvolutionLayer, Join, UNet, same_padding, spread_weight


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
        padding = same_padding(weight)
        spread = spread_weight(weight[:, :n_below], join.pool_px)
        is_3d = weight.ndim == 5
        transposed, plain = (nn.ConvTranspose3d, nn.Conv3d) if is_3d else (nn.ConvTranspose2d, nn.Conv2d)
        n_skip, n_out = weight.shape[1] - n_below, weight.shape[0]
        size = tuple(spread.shape[2:])
        self.below = transposed(n_below, n_out, size, stride=join.pool_px, padding=padding, bias=not n_skip)
        self.below.weight = nn.Parameter(spread)
        self.skip = plain(n_skip, n_out, tuple(weight.shape[2:]), padding=padding) if n_skip else None
        if self.skip is None:
            self.below.bias = whole.bias
        else:
            self.skip.weight = nn.Parameter(weight[:, n_below:].clone())
            self.skip.bias = whole.bias

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        risen: Tensor = self.below(below)
        return functional.relu(risen if self.skip is None or skip is None else risen + self.skip(skip))
