"""The same network in torch, channels last, convolution plans searched: what a GPU should be able to do."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Iterator
from typing import Any

from care_live.model.unet_graph import UNetShape


def torch_speed(unet: UNetShape, shape: tuple[int, int, int], n: int) -> Iterator[dict[str, Any]]:
    """Time torch on the GPU in float32, TF32 and float16; nothing where there is no torch or no GPU."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if not torch.cuda.is_available():
        return
    torch.backends.cudnn.benchmark = True
    for name, tf32, dtype in (
        ("fp32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("fp16", False, torch.float16),
    ):
        torch.backends.cudnn.allow_tf32 = tf32
        head = {"shape": "x".join(map(str, shape)), "way": "channels_last_3d, no copies", "precision": name}
        try:
            took_s = _median_s(unet, shape, dtype, n)
        except torch.cuda.OutOfMemoryError:
            yield head | {"refused": "out of memory"}
            torch.cuda.empty_cache()
        else:
            yield head | {"ms": 1e3 * took_s, "cudnn": torch.backends.cudnn.version()}


def _median_s(unet: UNetShape, shape: tuple[int, int, int], dtype: Any, n: int) -> float:
    """Return the median time of a run on the device, after three that search for the fastest plans."""
    import torch

    network = _Network(unet).cuda().to(dtype=dtype, memory_format=torch.channels_last_3d).eval()
    field = torch.rand((1, 1, *shape), device="cuda", dtype=dtype).to(memory_format=torch.channels_last_3d)
    took = []
    with torch.inference_mode():
        for _ in range(n + 3):
            torch.cuda.synchronize()
            begun = time.perf_counter()
            network(field)
            torch.cuda.synchronize()
            took.append(time.perf_counter() - begun)
    return statistics.median(took[3:])


def _Network(unet: UNetShape) -> Any:  # noqa: N802 - a class that exists only where torch does
    """Return the U-Net of `care_live.model.unet_graph` as a torch module with random weights."""
    import torch
    from torch import nn

    def pair(n_in: int, n_middle: int, n_out: int) -> nn.Sequential:
        layers = (
            nn.Conv3d(n_in, n_middle, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(n_middle, n_out, 3, padding=1),
            nn.ReLU(),
        )
        return nn.Sequential(*layers)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width, depth = unet.filters, unet.depth
            self.down = nn.ModuleList(
                pair(width << (level - 1) if level else 1, width << level, width << level) for level in range(depth)
            )
            self.bottom = pair(width << (depth - 1), width << depth, width << (depth - 1))
            self.up = nn.ModuleList(
                pair(2 * (width << level), width << level, width << max(0, level - 1))
                for level in reversed(range(depth))
            )
            self.heads = nn.ModuleList(nn.Conv3d(width, 1, 1) for _ in range(2))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features, skips = x, []
            for block in self.down:
                skips.append(block(features))
                features = nn.functional.max_pool3d(skips[-1], 2)
            features = self.bottom(features)
            for block in self.up:
                larger = nn.functional.interpolate(features, scale_factor=2, mode="nearest")
                features = block(torch.cat([larger, skips.pop()], dim=1))
            return self.heads[0](features) + x, nn.functional.softplus(self.heads[1](features)) + 1e-3

    return Network()
