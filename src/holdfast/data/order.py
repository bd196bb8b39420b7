"""The order in which a training set is seen: a pure function of (seed, epoch, step)."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from holdfast.errors import InvalidInput
from holdfast.noise import permutation

_STREAM = 0x6F726465  # keeps the order apart from everything else that the seed decides


@dataclass(frozen=True)
class Order:
    """Which examples make the batches of an epoch, and which of them this process takes.

    Examples are shuffled anew each epoch and cut into batches; a last incomplete batch is dropped (its examples are
    others in each epoch), unless there is no complete one. Of each global batch, process `rank` takes rows rank,
    rank + world, ...: together the processes see the batch that one process would.

    Args:
        count: number of examples.
        batch_size: examples a global batch, over all processes.
        seed: of the shuffles.
        rank: number of this process, from 0.
        world: number of processes.

    Raises:
        InvalidInput: batches that the processes cannot share evenly (gradients are averaged over processes, so each
            must have as many examples), or numbers out of range.
    """

    count: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.batch_size < 1:
            raise InvalidInput(
                f"{self.count} examples cannot be seen in batches of {self.batch_size}; both must be at least 1"
            )
        if not 0 <= self.rank < self.world:
            raise InvalidInput(f"rank {self.rank} is outside [0, {self.world}), the {self.world} processes")
        if self._global_batch % self.world:
            raise InvalidInput(
                f"a batch of {self._global_batch} examples cannot be shared evenly by {self.world} processes; give a "
                f"batch size that is a multiple of {self.world}"
            )

    @property
    def _global_batch(self) -> int:
        return min(self.batch_size, self.count)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, at least 1."""
        return self.count // self._global_batch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """This process's examples, int64 [batch / world] positions on the CPU, for steps start, start + 1, ...

        Raises:
            InvalidInput: `start` is outside [0, steps_per_epoch]; at its upper end there is nothing left to do.
        """
        if not 0 <= start <= self.steps_per_epoch:
            raise InvalidInput(f"step {start} is outside [0, {self.steps_per_epoch}], the steps of an epoch")
        return self._batches(epoch, start)

    def _batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        size = self._global_batch
        order = permutation(self.count, self.seed, _STREAM, epoch)
        for step in range(start, self.steps_per_epoch):
            yield order[step * size : (step + 1) * size][self.rank :: self.world]
