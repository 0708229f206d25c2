"""Nearest upsampling and a convolution, as the one transposed convolution that they are.

An upsampled image repeats every value, so most of a convolution's products are computed again and again. Adding
up the taps that meet the same value first gives a transposed convolution of the small image: for a 3×3×3 kernel
and a pooling by two, 8 products for each value that comes out instead of 27.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from care_live.model.rewrite import spread_matrix


def convolve_upsampled(image: Tensor, weight: Tensor, pool_px: tuple[int, ...]) -> Tensor:
    """Upsample an image to the nearest value and convolve it; gradients flow to both.

    Parameters
    ----------
    image : (n, n_in, [z,] y, x)
    weight : (n_out, n_in, kernel…), odd kernel
    pool_px : how often every value is repeated, one per axis

    Returns
    -------
    (n, n_out, [z·pool,] y·pool, x·pool), of the layout in memory that the image has
    """
    transposed = functional.conv_transpose3d if image.ndim == 5 else functional.conv_transpose2d
    result: Tensor = transposed(image, spread_weight(weight, pool_px), stride=pool_px, padding=weight.shape[-1] // 2)
    return result


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
