"""Numbers that steps leave on the device, read a few times an epoch so that no step waits for its loss."""

from collections.abc import Mapping

import torch
from torch import Tensor

from holdfast.processes import Processes

Row = dict[str, float]


class Meter:
    """Collects the losses of steps and their means over an epoch.

    Args:
        processes: whose means are taken.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._pending: list[tuple[int, float, dict[str, Tensor]]] = []
        self._sums: dict[str, list[float]] = {}

    def add(self, step: int, share: float, values: Mapping[str, Tensor]) -> None:
        """Keep the scalars of a step's part, which is `share` of the step, without reading them."""
        self._pending.append((step, share, dict(values)))

    def read(self) -> dict[int, Row]:
        """The numbers of each step since the last call, by step, meant over parts and processes; one transfer."""
        if not self._pending:
            return {}
        device = self._processes.device
        scalars = [
            value.detach().to(device, torch.float32) for _, _, values in self._pending for value in values.values()
        ]
        numbers = iter((self._processes.sum(torch.stack(scalars)) / self._processes.world).tolist())
        rows: dict[int, Row] = {}
        for step, share, values in self._pending:
            row = rows.setdefault(step, {})
            for name in values:
                row[name] = row.get(name, 0.0) + share * next(numbers)
        self._pending.clear()
        for row in rows.values():
            for name, value in row.items():
                total = self._sums.setdefault(name, [0.0, 0.0])
                total[0] += value
                total[1] += 1.0
        return rows

    def epoch(self) -> Row:
        """Means over the steps read since the last call of this; begins anew."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state_dict(self) -> dict[str, list[float]]:
        """The epoch's sums so far; nothing may be unread."""
        return {name: list(total) for name, total in self._sums.items()}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        """Go on from sums of an epoch."""
        self._sums = {name: list(total) for name, total in state.items()}


def mean(rows: Mapping[int, Row]) -> Row:
    """The mean of several steps' numbers; a name that a step lacks is averaged over the others."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    columns = {name: [row[name] for row in rows.values() if name in row] for name in names}
    return {name: sum(column) / len(column) for name, column in columns.items()}
