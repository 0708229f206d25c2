"""A network that sees images of mean 0 and deviation 1, whatever the spread of those that it is given.

Normalised by percentiles, an image has a mean of some 0.2 and a deviation of the same size, so that a fresh network
must learn first how bright a specimen is. Measured once on training patches and kept with the weights, the spread
costs an addition and a product per voxel at run time.
"""

# torch is not analysed (pyproject), so its classes are Any here.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import torch
from torch import Tensor, nn

from care_live.training.recipe import NetworkRecipe

SMALLEST_DEVIATION = 1e-6
"""Of a channel that is the same everywhere."""


class Standardised(nn.Module):
    """A network between images as they come and images as it likes them.

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
        for name, n_channels in (("input", recipe.n_channels_in), ("target", recipe.n_channels_out)):
            self.register_buffer(f"{name}_mean", torch.zeros(n_channels))
            self.register_buffer(f"{name}_deviation", torch.ones(n_channels))

    def measure(self, inputs: Tensor, targets: Tensor) -> None:
        """Take the spread of every channel from training patches, (n, c, [z,] y, x)."""
        for name, images in (("input", inputs), ("target", targets)):
            channels = images.transpose(0, 1).flatten(1).double()
            getattr(self, f"{name}_mean").copy_(channels.mean(dim=1))
            getattr(self, f"{name}_deviation").copy_(channels.std(dim=1).clamp_min(SMALLEST_DEVIATION))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        mean, scale = self.network((x - _along(self.input_mean, x)) / _along(self.input_deviation, x))
        deviation = _along(self.target_deviation, mean)
        return mean * deviation + _along(self.target_mean, mean), None if scale is None else scale * deviation


def _along(values: Tensor, image: Tensor) -> Tensor:
    """Lay one value a channel along the channels of an image (n, c, [z,] y, x)."""
    return values.reshape(1, -1, *[1] * (image.ndim - 2))
