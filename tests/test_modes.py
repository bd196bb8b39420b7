"""Modes: what an inner search may see of BatchNorm and dropout, and that nothing of it stays behind."""

import copy
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from holdfast import modes
from holdfast.typing import Classifier


def state_of(model: nn.Module) -> tuple[list[bool], list[Tensor]]:
    return [m.training for m in model.modules()], [b.clone() for b in model.buffers()]


def assert_same_state(model: nn.Module, before: tuple[list[bool], list[Tensor]]) -> None:
    flags, buffers = state_of(model)
    assert flags == before[0]
    assert all(torch.equal(a, b) for a, b in zip(buffers, before[1], strict=True))


@pytest.fixture
def mixed(bn_cnn: nn.Module) -> nn.Module:
    """A network in train mode of which one part was frozen in eval mode."""
    model = nn.Sequential(bn_cnn, nn.Dropout(0.5))
    bn_cnn[1].eval()
    return model


def test_inference_gives_every_flag_back(mixed: nn.Module, images: Tensor) -> None:
    before = state_of(mixed)
    with modes.inference(mixed):
        assert not any(module.training for module in mixed.modules())
        mixed(images)
    assert_same_state(mixed, before)


@pytest.mark.parametrize("batch_statistics", [True, False])
def test_searching_leaves_no_trace(mixed: nn.Module, images: Tensor, batch_statistics: bool) -> None:
    before = state_of(mixed)
    with modes.searching(mixed, batch_statistics):
        first = mixed(images)
        assert torch.equal(mixed(images), first), "dropout is off and nothing moves"
    assert_same_state(mixed, before)
    assert all(m.track_running_stats for m in mixed.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("mode", [modes.inference, lambda model: modes.searching(model, True)])
def test_flags_come_back_after_an_error(mixed: nn.Module, mode: object) -> None:
    before = state_of(mixed)
    with pytest.raises(RuntimeError, match="stop"), mode(mixed):  # type: ignore[operator]
        raise RuntimeError("stop")
    assert_same_state(mixed, before)
    assert all(m.track_running_stats for m in mixed.modules() if isinstance(m, nn.BatchNorm2d))


def test_searching_normalises_as_asked(bn_cnn: nn.Module, images: Tensor) -> None:
    by_batch = copy.deepcopy(bn_cnn).train()(images)
    by_average = copy.deepcopy(bn_cnn).eval()(images)
    assert not torch.allclose(by_batch, by_average, atol=1e-2)
    with modes.searching(bn_cnn, batch_statistics=True):
        assert torch.equal(bn_cnn(images), by_batch)
    with modes.searching(bn_cnn, batch_statistics=False):
        assert torch.equal(bn_cnn(images), by_average)


def test_a_model_that_was_in_eval_mode_returns_to_it(bn_cnn: nn.Module, images: Tensor) -> None:
    bn_cnn.eval()
    before = state_of(bn_cnn)
    with modes.searching(bn_cnn, batch_statistics=True):
        bn_cnn(images)
    assert_same_state(bn_cnn, before)


def test_a_frozen_layer_keeps_its_running_statistics(mixed: nn.Module, images: Tensor) -> None:
    mixed[1].p = 0.0
    outer = copy.deepcopy(mixed)(images)
    with modes.searching(mixed, batch_statistics=True):
        assert torch.equal(mixed(images), outer)


def test_layers_without_running_statistics_stay_without(images: Tensor) -> None:
    layer = nn.BatchNorm2d(2, track_running_stats=False)
    with modes.searching(layer, batch_statistics=True):
        layer(images)
    assert not layer.track_running_stats
    assert layer.running_mean is None


def test_cumulative_averages_and_batch_counters_rest(images: Tensor) -> None:
    layer = nn.BatchNorm2d(2, momentum=None)
    with modes.searching(layer, batch_statistics=True):
        layer(images)
    assert layer.num_batches_tracked == 0
    layer(images)
    assert layer.num_batches_tracked == 1


def test_a_replacement_is_asked_in_searches_of_its_model_alone(bn_cnn: nn.Module, mixed: nn.Module) -> None:
    def zeros(x: Tensor) -> Tensor:
        return torch.zeros(len(x), 5)

    def replacement(
        model: nn.Module, batch_statistics: bool, itself: bool
    ) -> AbstractContextManager[Classifier | None]:
        return nullcontext(zeros if model is mixed and batch_statistics and not itself else None)

    with modes.replacing(replacement):
        with modes.searching(mixed, True) as asked:
            assert asked is zeros
            assert not mixed.training
        with modes.searching(mixed, False) as asked:
            assert asked is mixed
        with modes.searching(mixed, True, itself=True) as asked:
            assert asked is mixed
        with modes.searching(bn_cnn, True) as asked:
            assert asked is bn_cnn
    with modes.searching(mixed, True) as asked:
        assert asked is mixed


def test_lent_tensors_answer_and_pass_gradients_on(mixed: nn.Module, images: Tensor) -> None:
    mixed.eval()
    own = list(mixed.parameters())
    moved = copy.deepcopy(mixed)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1)
    with modes.substituted(mixed, {parameter: parameter + 0.1 for parameter in own}):
        logits = mixed(images)
    expected = moved(images)
    assert torch.equal(logits, expected)
    assert all(one is other for one, other in zip(mixed.parameters(), own, strict=True))
    logits.sum().backward()
    expected.sum().backward()
    for one, other in zip(own, moved.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


def test_a_tied_weight_is_lent_under_both_names() -> None:
    layer = nn.Linear(3, 3)
    tied = nn.Sequential(layer, nn.Linear(3, 3))
    tied[1].weight = layer.weight
    lent = torch.zeros(3, 3)
    seen = []
    tied.register_forward_hook(lambda *_: seen.append((tied[0].weight is lent, tied[1].weight is lent)))
    with pytest.raises(RuntimeError), modes.substituted(tied, {layer.weight: lent}):
        tied(torch.zeros(1, 3)).backward(torch.ones(7))  # a gradient of the wrong shape
    assert seen == [(True, True)]
    assert tied[0].weight is tied[1].weight is layer.weight
    assert isinstance(layer.weight, nn.Parameter)
