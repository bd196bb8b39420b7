"""Reading losses late and together."""

import pytest
import torch

from holdfast.processes import Processes
from holdfast.training.meter import Meter, mean

ALONE = Processes(0, 1, torch.device("cpu"))


def test_parts_of_a_step_are_weighted_by_their_share() -> None:
    meter = Meter(ALONE)
    meter.add(7, 0.75, {"loss": torch.tensor(1.0)})
    meter.add(7, 0.25, {"loss": torch.tensor(3.0)})
    meter.add(8, 1.0, {"loss": torch.tensor(4.0), "local_loss": torch.tensor(0.5)})
    assert meter.read() == {7: {"loss": 1.5}, 8: {"loss": 4.0, "local_loss": 0.5}}
    assert meter.read() == {}


def test_an_epochs_mean_does_not_depend_on_when_it_was_read() -> None:
    values = torch.rand(9).tolist()
    often, seldom = Meter(ALONE), Meter(ALONE)
    for step, value in enumerate(values):
        for meter in (often, seldom):
            meter.add(step, 1.0, {"loss": torch.tensor(value)})
        often.read()
    resumed = Meter(ALONE)
    resumed.load_state_dict(often.state_dict())
    seldom.read()
    assert resumed.epoch() == seldom.epoch()
    assert resumed.epoch() == {}


def test_mean_skips_names_that_a_step_lacks() -> None:
    assert mean({0: {"loss": 1.0}, 1: {"loss": 3.0, "extra": 5.0}}) == {"loss": pytest.approx(2.0), "extra": 5.0}
