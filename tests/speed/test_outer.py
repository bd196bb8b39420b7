"""The model's own passes, computed another way in place."""

from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast.speed import Passes, adapt


class Block(nn.Module):
    """A block of user code, as the residual blocks of a network are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x).relu()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch about itself, while its compiler loads
def test_a_stack_of_blocks_is_compiled_as_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    model, x = nn.Sequential(Block(), Block(), Block()), torch.rand(4, 3)
    plain = deepcopy(model)
    adapt(model, Passes(compiled=True))
    assert torch.equal(model(x), plain(x))
    assert len(graphs) == 1
    assert deepcopy(model)._compiled_call_impl is None
