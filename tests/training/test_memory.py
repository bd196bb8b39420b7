"""Processes share what each of them has remembered."""

import torch
from torch import Tensor, nn

from holdfast.processes import Processes
from holdfast.training.memory import Memory


class Pair(Processes):
    """The first of two processes; the other's share of a sum is given."""

    def __init__(self, others: list[Tensor]) -> None:
        super().__init__(0, 2, torch.device("cpu"))
        object.__setattr__(self, "others", iter(others))

    def sum(self, values: Tensor) -> Tensor:
        return values + next(self.others)  # type: ignore[attr-defined]


def state(values: Tensor) -> nn.Module:
    module = nn.Module()
    module.register_buffer("values", values)
    return module


def test_an_entry_has_the_value_of_the_process_that_moved_it() -> None:
    """Entries: nobody's, ours, theirs, ours to 0, both."""
    ours = state(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    other = [torch.tensor([[0.0, 0.0, 0.1, 0.0, 8.0], [0.0, 0.0, 1.0, 0.0, 1.0]]), torch.zeros(2, 5)]
    memory = Memory(ours, Pair(other))
    ours.values.copy_(torch.tensor([1.0, 0.7, 3.0, 0.0, 6.0]))
    for _ in range(2):  # the second time nothing has moved
        memory.share()
        assert torch.equal(ours.values, torch.tensor([1.0, 0.7, 0.1, 0.0, 7.0]))


def test_whole_numbers_stay_whole() -> None:
    ours = state(torch.tensor([7, 8]))
    memory = Memory(ours, Pair([torch.tensor([[0, 2**40], [0, 1]])]))
    ours.values[0] = 3
    memory.share()
    assert ours.values.tolist() == [3, 2**40]
