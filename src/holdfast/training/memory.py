"""What a method remembers between steps, the same in all processes."""

import torch
from torch import nn

from holdfast.processes import Processes


class Memory:
    """The buffers of a method's state, of which each process moves the entries of its own examples.

    Args:
        state: the method's; None where it has none.
        processes: who trains.
    """

    def __init__(self, state: nn.Module | None, processes: Processes) -> None:
        self._processes = processes
        # Alone, there is nothing to compare with.
        self._buffers = [] if state is None or processes.world == 1 else list(state.buffers())
        self._before = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def share(self) -> None:
        """After a step: an entry that one process has moved has its value in all; one that several have, their mean."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            moved = buffer != before
            total, count = self._processes.sum(torch.stack([buffer * moved, moved.to(buffer.dtype)]))
            buffer.copy_(torch.where(count > 0, total / count.clamp(min=1), buffer))
            before.copy_(buffer)
