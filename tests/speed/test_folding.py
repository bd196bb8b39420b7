"""Which BatchNorm layers become part of a convolution, and which must stay."""

import pytest
import torch
from torch import Tensor, nn

from holdfast.models import PreActResNet18, WideResNet
from holdfast.speed.folding import foldable


class Reads(nn.Module):
    """conv, bn and a third thing that decides whether they can be one."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv, self.bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "depends" and x.sum() > 0:
            return x
        inner: Tensor = self.conv(x)
        found: Tensor = self.bn(inner)
        if self.how == "shortcut":
            return found + inner
        if self.how == "again":
            return torch.cat([found, self.bn(self.conv(x + 1.0))])
        if self.how == "weight":
            return found + self.conv.weight.sum()
        return found


def test_a_pair_folds_where_nothing_else_reads_it() -> None:
    assert foldable(Reads("plain")) == [("conv", "bn")]


@pytest.mark.parametrize("how", ["depends", "shortcut", "again", "weight"])
def test_a_pair_that_is_read_elsewhere_stays(how: str) -> None:
    assert foldable(Reads(how)) == []


def test_layers_with_hooks_or_without_statistics_stay() -> None:
    hooked, fresh = Reads("plain"), Reads("plain")
    hooked.conv.register_forward_hook(lambda module, arguments, output: output)
    fresh.bn = nn.BatchNorm2d(3, track_running_stats=False)
    assert foldable(hooked) == foldable(fresh) == []


def test_of_a_preact_resnet18_eight_fold() -> None:
    found = foldable(PreActResNet18(width=2).build((3, 8, 8), 4, seed=0))
    assert [norm for _, norm in found] == [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert len(foldable(WideResNet(depth=10, widen=1).build((3, 8, 8), 4, seed=0))) == 3
