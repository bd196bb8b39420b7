"""One evaluation shared by several processes: each judges every world-th example and keeps a log of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import CheckpointError
from holdfast.evaluation.keepsakes import Costs
from holdfast.results import Passes, VerdictLog, Verdicts, merge


@dataclass(frozen=True)
class Shards:
    """The files that the processes of an evaluation keep while it runs.

    Attributes:
        folder: of the evaluation.
        world: number of processes.
        identity: what makes two evaluations parts of one, see `VerdictLog`.
        attacks: their names, in order.
    """

    folder: Path
    world: int
    identity: Mapping[str, Any]
    attacks: Sequence[str]

    def check(self) -> None:
        """Refuse a folder that another number of processes has begun.

        Raises:
            CheckpointError: so it is; the message says how to go on.
        """
        ours = {self._path(rank).name for rank in range(self.world)}
        if foreign := sorted(path.name for path in self.folder.glob("verdicts*.jsonl") if path.name not in ours):
            begun = foreign[0].removesuffix(".jsonl").rpartition("-of-")[2] if "-of-" in foreign[0] else "1"
            raise CheckpointError(
                f"{self.folder} was begun by {begun} processes and cannot go on with {self.world}; start as many as "
                "then, or choose another folder"
            )

    def log(self, rank: int) -> VerdictLog:
        """The log of one process, made if it is not there."""
        return VerdictLog(self._path(rank), self.identity, self.attacks)

    def costs(self, rank: int) -> Costs:
        """What the attacks have cost one process."""
        return Costs(self._path(rank).with_name(f"costs{self._suffix(rank)}.json"))

    def curves(self) -> list[Path]:
        """Where each process keeps what the attacks behind the curves broke."""
        return [self.folder / f"curves{self._suffix(rank)}.json" for rank in range(self.world)]

    def verdicts(self) -> Verdicts:
        """The finished table of all processes, ordered by example."""
        parts = []
        for rank in range(self.world):
            with self.log(rank) as log:
                if log.predictions:
                    parts.append(log.verdicts())
        return merge(parts)

    def total(self) -> tuple[float, dict[str, Passes]]:
        """Seconds of the slowest process, and the passes of all."""
        costs = [self.costs(rank) for rank in range(self.world)]
        passes = {
            attack: sum((cost.passes[attack] for cost in costs if attack in cost.passes), Passes(0, 0))
            for attack in self.attacks
            if any(attack in cost.passes for cost in costs)
        }
        return max(cost.seconds for cost in costs), passes

    def _path(self, rank: int) -> Path:
        return self.folder / f"verdicts{self._suffix(rank)}.jsonl"

    def _suffix(self, rank: int) -> str:
        return f"-{rank}-of-{self.world}" if self.world > 1 else ""
