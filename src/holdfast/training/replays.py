"""Each batch several times in a row, for methods that take several steps on it."""

from collections.abc import Iterator

from holdfast.data import EpochLoader, Examples


class Replays:
    """A loader whose every batch comes `times` times; a step is one of these.

    Args:
        loader: of the batches.
        times: at least 1.
    """

    def __init__(self, loader: EpochLoader, times: int) -> None:
        self._loader = loader
        self._times = times

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every batch has come `times` times."""
        return self._loader.steps_per_epoch * self._times

    def batches(self, epoch: int, start: int = 0) -> Iterator[Examples]:
        """The batches of steps start, start + 1, ... of an epoch; a start amid the replays of a batch goes on there."""
        first, done = divmod(start, self._times)
        for batch in self._loader.batches(epoch, first):
            for _ in range(done, self._times):
                yield batch
            done = 0

    def once(self, epoch: int) -> Iterator[Examples]:
        """Every batch of an epoch, without its replays."""
        return self._loader.batches(epoch)
