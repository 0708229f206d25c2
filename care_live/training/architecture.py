"""The network that a recipe means: a U-Net, behind a projection, between standardised images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_live.training.network_recipe import NetworkRecipe
from care_live.training.unet import UNet

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False


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


# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False


SMALLEST_DEVIATION = 1e-6
"""Of a channel that is the same everywhere."""


class Standardised(nn.Module):
    """A network between recorded images and normalised ones of a size that it can pool.

    Parameters
    ----------
    network : what is trained
    recipe : its numbers of channels

    Notes
    -----
    Reads and gives what the network itself does, see `UNet`; before `measure`, exactly that.
    """

    def __init__(self, network: nn.Module, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.network = network
        for name, n_channels in (("input", recipe.n_inputs), ("target", recipe.n_channels_out)):
            self.register_buffer(f"{name}_mean", torch.zeros(n_channels))
            self.register_buffer(f"{name}_deviation", torch.ones(n_channels))

    def measure(self, inputs: Tensor, targets: Tensor) -> None:
        """Take the spread of every channel from training patches, (n, c, [z,] y, x), without NaN."""
        for name, images in (("input", inputs), ("target", targets)):
            channels = [channel[torch.isfinite(channel)] for channel in images.transpose(0, 1).flatten(1).double()]
            getattr(self, f"{name}_mean").copy_(torch.stack([channel.mean() for channel in channels]))
            deviations = torch.stack([channel.std() for channel in channels])
            getattr(self, f"{name}_deviation").copy_(deviations.clamp_min(SMALLEST_DEVIATION))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, scale = self.network((x - _along(self.input_mean, x)) / _along(self.input_deviation, x))
        deviation = _along(self.target_deviation, mean)
        return mean * deviation + _along(self.target_mean, mean), None if scale is None else scale * deviation


def _along(values: Tensor, image: Tensor) -> Tensor:
    """Lay one value a channel along the channels of an image (n, c, [z,] y, x)."""
    return values.reshape(1, -1, *[1] * (image.ndim - 2))


def build(recipe: NetworkRecipe) -> nn.Module:
    """Return a fresh network; set torch's seed before."""
    network = Projection(recipe) if recipe.projection else UNet(recipe)
    return Standardised(network, recipe) if recipe.standardise else network
