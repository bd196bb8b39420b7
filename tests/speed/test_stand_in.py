"""Cheaper passes against the model's own: the same to rounding, as the model changes, and nothing of it touched."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.models import PreActResNet18, WongCNN
from holdfast.models.architecture import Architecture
from holdfast.speed import Passes, StandIn
from holdfast.testing.subjects import inputs
from holdfast.threat import Linf

SHAPE = (2, 8, 8)
FOLDED = Passes(channels_last=True, folded=True)


def trained(architecture: Architecture, steps: int = 3) -> nn.Module:
    """A network in train mode whose BatchNorm statistics and weights have left their first values."""
    model = architecture.build(SHAPE, 5, seed=3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        model(inputs(Linf(0.1), 12, SHAPE, seed=step)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def answer(ask: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the input's gradient of a function of them."""
    point = x.clone().requires_grad_()
    logits = ask(point)
    weights = torch.linspace(-1, 1, logits.shape[1], device=x.device)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), point)
    return logits.detach(), gradient


def assert_near(stand_in: StandIn, model: nn.Module, batch_statistics: bool = False, share: float = 1e-5) -> None:
    """The same logits and gradients as the model's own search, within a share of their size."""
    device = next(model.parameters()).device
    x = inputs(Linf(0.1), 10, SHAPE, seed=9).to(device)
    half = torch.autocast(device.type, torch.bfloat16, enabled=stand_in.passes.precision == "bfloat16")
    with modes.searching(model, batch_statistics) as asked, half:
        expected = tuple(found.float() for found in answer(asked, x))
    for found, wanted in zip(answer(stand_in, x), expected, strict=True):
        assert found.dtype == torch.float32
        assert (found - wanted).abs().max() <= share * wanted.abs().max()


@pytest.mark.parametrize("architecture", [WongCNN(), PreActResNet18(width=4, mean=(0.5, 0.4), std=(0.2, 0.3))])
def test_it_follows_a_model_in_training(architecture: Architecture) -> None:
    model = trained(architecture)
    stand_in = StandIn(model, FOLDED)
    assert_near(stand_in, model)
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    model(inputs(Linf(0.1), 12, SHAPE, seed=20))  # moves the statistics
    with pytest.raises(AssertionError):
        assert_near(stand_in, model)
    stand_in.refresh()
    assert_near(stand_in, model)


def test_batch_statistics_are_kept_but_for_frozen_layers() -> None:
    model = trained(PreActResNet18(width=4))
    stand_in = StandIn(model, FOLDED, batch_statistics=True)
    assert_near(stand_in, model, batch_statistics=True)
    model.get_submodule("layer1.0.bn1").eval()
    stand_in.refresh()
    assert_near(stand_in, model, batch_statistics=True)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_bfloat16_is_that_of_autocast_and_the_answer_float32(batch_statistics: bool) -> None:
    model = trained(PreActResNet18(width=4))
    stand_in = StandIn(model, Passes("bfloat16", channels_last=True, folded=True), batch_statistics)
    assert_near(stand_in, model, batch_statistics, share=0.1)


def test_the_model_rests_and_parameters_get_no_gradient() -> None:
    model = trained(PreActResNet18(width=4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stand_in = StandIn(model, FOLDED)
    logits = stand_in(inputs(Linf(0.1), 3, SHAPE).requires_grad_())
    logits.sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_tied_weights_stay_tied_to_the_model() -> None:
    first, second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
    second.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm2d(2), second, nn.Flatten(), nn.Linear(128, 5))
    stand_in = StandIn(model, FOLDED)
    first.weight.data.mul_(2.0)
    stand_in.refresh()
    assert_near(stand_in, model)


def test_a_refresh_copies_each_pair_of_types_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of mixed types torch would copy tensor by tensor on a GPU."""
    stand_in = StandIn(trained(PreActResNet18(width=4)), Passes("bfloat16"), batch_statistics=True)
    calls = []
    monkeypatch.setattr(torch, "_foreach_copy_", lambda mine, theirs: calls.append((mine, theirs)))
    stand_in.refresh()
    kinds = [{(a.dtype, b.dtype) for a, b in zip(mine, theirs, strict=True)} for mine, theirs in calls]
    assert sorted(kinds, key=str) == [{(torch.bfloat16, torch.float32)}, {(torch.float32, torch.float32)}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch about itself, while its compiler loads
def test_compiled_answers_the_same() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(128, 5))
    assert_near(StandIn(model, Passes(compiled=True)), model)


@pytest.mark.gpu
@pytest.mark.parametrize("batch_statistics", [False, True])
@pytest.mark.parametrize("passes", [FOLDED, Passes("bfloat16", channels_last=True, folded=True)])
def test_it_answers_for_a_model_on_a_gpu(passes: Passes, batch_statistics: bool) -> None:
    """Within what TF32 and bfloat16 leave of the digits."""
    model = trained(PreActResNet18(width=4)).cuda()
    share = 0.2 if passes.precision == "bfloat16" else 0.02
    assert_near(StandIn(model, passes, batch_statistics), model, batch_statistics, share)
