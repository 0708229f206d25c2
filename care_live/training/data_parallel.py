"""One training in several processes, each with a GPU and patches of its own; torch averages their gradients.

    torchrun --standalone --nproc-per-node 2 --module -- care_live train CONFIG

The first process decides, validates for all, and writes every file.

References
----------
Li et al., "PyTorch Distributed", VLDB 2020.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

_T = TypeVar("_T")
_DEADLINE = timedelta(minutes=10)
"""For one process to wait for another, while that reads or settles; a process that fails ends all sooner."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes of one training."""

    rank: int = 0
    n: int = 1

    @property
    def is_first(self) -> bool:
        """Tell whether this process writes and prints."""
        return self.rank == 0

    def shared(self, value: _T) -> _T:
        """Return the first process's value; all processes call it."""
        if self.n == 1:
            return value
        box: list[Any] = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[no-any-return]

    def together(self, network: nn.Module) -> nn.Module:
        """Return what runs a network forward, so that its gradients are averaged over all processes."""
        return network if self.n == 1 else nn.parallel.DistributedDataParallel(network)


ALONE = ProcessGroup()


@contextlib.contextmanager
def joined(*, uses_cuda: bool) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun has started; without it there is one."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield ALONE
        return
    if uses_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if uses_cuda else "gloo", timeout=_DEADLINE)
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
