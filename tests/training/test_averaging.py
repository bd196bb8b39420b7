"""The averages of the weights: their rules, and BatchNorm's statistics that fit them."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from holdfast.errors import InvalidInput
from holdfast.processes import Processes
from holdfast.recipe import EMA, SWA, Recipe
from holdfast.training.averaging import EpochAverage, ExponentialAverage


def test_follows_the_weights_in_the_warm_up_then_averages_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = ExponentialAverage(EMA(decay=0.25, warmup=0.2), model, steps=10)
    values, expected = [1.0, 2.0, 3.0, 4.0, 5.0], None
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(step)
        # The warm-up is 2 steps; after it d = 1, 2, 3 and (1 + d) / (10 + d) = 2/11, 3/12 and 4/13, cut at 0.25.
        decay = {1: 0.0, 2: 0.0, 3: 2 / 11, 4: 0.25, 5: 0.25}[step]
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert average.decay(step) == pytest.approx(decay)
        assert average.model.weight.item() == pytest.approx(expected)


def test_buffers_are_copies_of_the_online_models(bn_cnn: nn.Module) -> None:
    average = ExponentialAverage(EMA(), bn_cnn, steps=10)
    before = [buffer.clone() for buffer in average.model.buffers()]
    bn_cnn(torch.rand(4, 2, 6, 6))  # moves the online model's statistics
    kept = list(average._model.buffers())
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True)), "statistics leaked into the average"
    taken = list(average.model.buffers())
    assert all(torch.equal(*pair) for pair in zip(taken, bn_cnn.buffers(), strict=True))
    assert not {b.data_ptr() for b in taken} & {b.data_ptr() for b in bn_cnn.buffers()}


def test_goes_on_from_its_state(cnn: nn.Module) -> None:
    first = ExponentialAverage(EMA(decay=0.9, warmup=0.0), cnn, steps=10)
    with torch.no_grad():
        for parameter in cnn.parameters():
            parameter.mul_(2.0)
    first.update(5)
    second = ExponentialAverage(EMA(decay=0.9, warmup=0.0), cnn, steps=10)
    second.load_state_dict(first.state_dict())
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


ALONE = Processes(0, 1, torch.device("cpu"))


def test_weights_at_the_ends_of_epochs_are_averaged_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = EpochAverage(SWA(start=0.5), model, steps=10, processes=ALONE)
    for step, value in enumerate([1.0, 2.0, 4.0, 6.0, 11.0], start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(2 * step)
        average.end_epoch(2 * step, list)
        # Epochs of 2 steps: those that end after step 5 count.
        assert average.model.weight.item() == pytest.approx({1: 1.0, 2: 2.0, 3: 4.0, 4: 5.0, 5: 7.0}[step])
    assert average.model is not model


def test_statistics_are_those_of_the_averaged_weights(bn_cnn: nn.Module) -> None:
    bn_cnn = nn.Sequential(*bn_cnn, nn.Dropout(0.5))
    average = EpochAverage(SWA(start=0.0), bn_cnn, steps=10, processes=ALONE)
    batches = [torch.rand(8, 2, 6, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    for step in (5, 10):
        with torch.no_grad():
            for parameter in bn_cnn.parameters():
                parameter.mul_(1.5)
        bn_cnn(batches[0])
        average.end_epoch(step, lambda: iter(batches))
    norm = next(layer for layer in average.model if isinstance(layer, nn.BatchNorm2d))
    before = average.model[: list(average.model).index(norm)]
    with torch.no_grad():
        seen = [before(x) for x in batches]
    means = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    variances = torch.stack([x.transpose(0, 1).flatten(1).var(dim=1) for x in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.1
    assert average.model.training
    online = next(layer for layer in bn_cnn if isinstance(layer, nn.BatchNorm2d))
    assert not torch.equal(online.running_mean, norm.running_mean)


def test_an_average_of_epochs_goes_on_from_its_state(cnn: nn.Module) -> None:
    first = EpochAverage(SWA(start=0.0), cnn, steps=10, processes=ALONE)
    second = EpochAverage(SWA(start=0.0), cnn, steps=10, processes=ALONE)
    first.end_epoch(5, list)
    with torch.no_grad():
        for parameter in cnn.parameters():
            parameter.mul_(3.0)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.end_epoch(10, list)
    for one, other, online in zip(first.model.parameters(), second.model.parameters(), cnn.parameters(), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, online * 2 / 3)


def test_one_average_is_kept(tiny: Callable[..., Recipe]) -> None:
    with pytest.raises(InvalidInput, match="ema and swa are both set"):
        tiny(ema=EMA(), swa=SWA())
    with pytest.raises(InvalidInput, match="start is 1"):
        SWA(start=1.0)
