"""The average of the weights: Gowal et al.'s rule, and buffers that are copies."""

import pytest
import torch
from torch import nn

from holdfast.recipe import EMA
from holdfast.training.averaging import Average


def test_follows_the_weights_in_the_warm_up_then_averages_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = Average(EMA(decay=0.25, warmup=0.2), model, steps=10)
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
    average = Average(EMA(), bn_cnn, steps=10)
    before = [buffer.clone() for buffer in average.model.buffers()]
    bn_cnn(torch.rand(4, 2, 6, 6))  # moves the online model's statistics
    kept = list(average._model.buffers())
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True)), "statistics leaked into the average"
    taken = list(average.model.buffers())
    assert all(torch.equal(*pair) for pair in zip(taken, bn_cnn.buffers(), strict=True))
    assert not {b.data_ptr() for b in taken} & {b.data_ptr() for b in bn_cnn.buffers()}


def test_goes_on_from_its_state(cnn: nn.Module) -> None:
    first = Average(EMA(decay=0.9, warmup=0.0), cnn, steps=10)
    with torch.no_grad():
        for parameter in cnn.parameters():
            parameter.mul_(2.0)
    first.update(5)
    second = Average(EMA(decay=0.9, warmup=0.0), cnn, steps=10)
    second.load_state_dict(first.state_dict())
    pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
