"""The trial's choice, by times that are given to it, and its harmlessness, by times that it measures."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import InvalidInput
from holdfast.recipe import codec
from holdfast.speed import Demand, Passes, Trial, Tried, candidates, trial
from holdfast.speed.trial import _Bench

X, Y = torch.rand(12, 2, 6, 6), torch.arange(12) % 5
HALF = Passes("bfloat16", channels_last=True, folded=True)
COMPILED = Passes("bfloat16", channels_last=True, folded=True, compiled=True)
Times = Callable[..., None]


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    """Let measured passes cost what is said here."""

    def say(costs: dict[Passes, Tried], plain: float = 1.0) -> None:
        def measure(bench: _Bench, ways: Sequence[Passes], rounds: int = 0) -> list[Tried]:
            return [costs.get(way, Tried(way, Demand(plain, plain, plain))) for way in ways]

        monkeypatch.setattr(_Bench, "measure", measure)

    return say


def costing(passes: Passes, gradient: float, training: float, **more: object) -> Tried:
    return Tried(passes, Demand(gradient=gradient, training=training), **more)  # type: ignore[arg-type]


def chosen(model: nn.Module, demand: Demand, compiled: bool | None = False) -> Trial:
    return trial(model, X, Y, demand, [Passes(), HALF], compiled=compiled)


def test_the_work_decides_what_is_fastest(cnn: nn.Module, times: Times) -> None:
    times({HALF: costing(HALF, gradient=0.5, training=2.0)})
    assert chosen(cnn, Demand(gradient=10, training=1)).passes == HALF
    assert chosen(cnn, Demand(gradient=1, training=1)).passes == Passes()


def test_a_small_gain_is_not_worth_the_rounding(cnn: nn.Module, times: Times) -> None:
    times({HALF: costing(HALF, 0.9, 0.9)})
    assert chosen(cnn, Demand(gradient=1, training=1)).passes == Passes()


def test_compilation_must_earn_its_time_back(cnn: nn.Module, times: Times) -> None:
    eager, fast = costing(HALF, 0.5, 0.5), costing(COMPILED, 0.25, 0.25, compile_seconds=60.0)
    times({HALF: eager, COMPILED: fast})
    few, some, many = (chosen(cnn, Demand(gradient=steps, training=steps), None) for steps in (10, 100, 1000))
    assert COMPILED not in [one.passes for one in few.tried], "tried for a run too short for it"
    assert fast in some.tried
    assert (few.passes, some.passes, many.passes) == (HALF, HALF, COMPILED)
    assert chosen(cnn, Demand(gradient=1), compiled=True).passes == COMPILED


def test_compiled_passes_need_no_more_than_to_earn_their_time_back(cnn: nn.Module, times: Times) -> None:
    """They round as the eager ones do, so that a small gain is worth having."""
    times({HALF: costing(HALF, 0.5, 0.5), COMPILED: costing(COMPILED, 0.47, 0.47, compile_seconds=60.0)})
    assert chosen(cnn, Demand(gradient=1500, training=1500), None).passes == COMPILED
    assert chosen(cnn, Demand(gradient=500, training=500), None).passes == HALF


class Stubborn(nn.Module):
    """Knows no half precision."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __deepcopy__(self, memo: dict[int, object]) -> "Stubborn":
        return Stubborn(self.error)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise self.error
        return x.flatten(1)[:, :5]


def test_what_cannot_be_had_is_told_and_not_chosen() -> None:
    found = chosen(Stubborn(ValueError("no half precision here")), Demand(gradient=1))
    assert found.passes == Passes()
    assert found.tried[1].fault == "ValueError: no half precision here"


def test_where_nothing_can_be_had_the_reason_is_told() -> None:
    with pytest.raises(InvalidInput, match=r"bfloat16 passes.*no half precision here.*ask for float32"):
        trial(Stubborn(ValueError("no half precision here")), X, Y, Demand(gradient=1), [Passes("bfloat16")])


def test_a_batch_too_large_is_told_as_that() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        trial(Stubborn(torch.OutOfMemoryError("1 GiB")), X, Y, Demand(gradient=1), [Passes("bfloat16")])


def test_a_first_way_with_a_fault_is_not_chosen(cnn: nn.Module, times: Times) -> None:
    first = Passes("bfloat16")
    times({first: Tried(first, fault="no"), HALF: costing(HALF, 0.5, 0.5)})
    assert trial(cnn, X, Y, Demand(gradient=1), [first, HALF], compiled=False).passes == HALF


@pytest.mark.usefixtures("global_state_rests")
def test_a_trial_touches_nothing(cnn: nn.Module) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), cnn).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = trial(model, X, Y, Demand(1.0, 1.0, 1.0), candidates(images=True), batch_statistics=True, compiled=False)
    assert [one.passes for one in found.tried] == candidates(images=True)
    assert all(min(vars(one.cost).values()) > 0.0 and not one.fault for one in found.tried)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert codec.decode(codec.encode(found)) == found


@pytest.mark.parametrize(("device", "rows"), [("cpu", 2), ("meta", 12)])
def test_only_a_cpu_is_tried_at_a_part_of_the_batch(cnn: nn.Module, times: Times, device: str, rows: int) -> None:
    times({})
    found = trial(cnn.to(device), X.to(device), Y.to(device), Demand(gradient=1.0), [Passes(), HALF], compiled=False)
    assert found.rows == rows


def test_it_waits_for_the_device_of_the_batch(cnn: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device=None: waited.append(device))
    bench = _Bench(cnn.to("meta"), X.to("meta"), Y.to("meta"), Demand(forward=1.0), batch_statistics=False)
    bench._time(lambda: None)
    assert waited == [torch.device("meta")] * 2


def test_candidates_are_those_allowed() -> None:
    assert candidates(images=False) == [Passes(), Passes("bfloat16", folded=True)]
    assert candidates(True, ["bfloat16"], [True], folded=False) == [Passes("bfloat16", True)]
    assert len(candidates(True)) == 4
    assert candidates(True)[0].plain


@pytest.mark.gpu
@pytest.mark.usefixtures("global_state_rests")
def test_a_trial_on_a_gpu_touches_nothing(cnn: nn.Module) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), cnn).train().cuda()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.cuda.get_rng_state()
    found = trial(model, X.cuda(), Y.cuda(), Demand(1.0, 1.0, 1.0), candidates(images=True), compiled=False)
    assert found.rows == len(X)
    assert all(min(vars(one.cost).values()) > 0.0 and not one.fault for one in found.tried)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.cuda.get_rng_state(), generator)
