"""Surface projection: find, voxel by voxel, how much each plane matters, and restore the weighted sum in 2D.

References
----------
Weigert et al., Nature Methods 15, 1090 (2018): joint surface projection and denoising.
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_live.training.recipe import NetworkRecipe
from care_live.training.unet import UNet


class Projection(nn.Module):
    """A small 3D U-Net weighs the planes, a 2D U-Net restores their weighted sum.

    Notes
    -----
    ``forward`` takes (n, c_in, z, y, x) and gives (mean, scale), each (n, c_out, y, x).
    """

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.finder = UNet(finder_recipe(recipe))
        self.restorer = UNet(recipe)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        relevance, _ = self.finder(x)  # (n, 1, z, y, x)
        flat = (torch.softmax(relevance, dim=2) * x).sum(dim=2)
        mean, scale = self.restorer(flat)
        return mean, scale


def finder_recipe(recipe: NetworkRecipe) -> NetworkRecipe:
    """Return the 3D network that weighs the planes; it never pools along z, so any number of planes fits."""
    return recipe.model_copy(
        update={
            "axes": "ZYX",
            "depth": recipe.projection_depth,
            "filters": recipe.projection_filters,
            "kernel_px": 3,
            "pool_px": (1, 2, 2),
            "n_channels_out": 1,
            "residual": False,
            "probabilistic": False,
            "last_activation": "linear",
            "projection": False,
        }
    )
