"""Which passes are the fastest for this model, on this device, at this batch: a short measured trial.

What is fast differs too much to be guessed: compiled passes of a PreAct ResNet-18 are half again as fast as eager ones,
those of a small CNN slower; bfloat16 halves the time on one processor and doubles it on another.
"""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from holdfast import losses
from holdfast.errors import InvalidInput
from holdfast.speed.outer import adapt, autocast, laid_out
from holdfast.speed.passes import Passes, Precision
from holdfast.speed.stand_in import StandIn
from holdfast.typing import Images, Labels

MARGIN = 1.15  # what passes must be faster by than plain ones to be worth their rounding
PASS_SECONDS = 0.04  # a plain pass of the trial on a CPU lasts about this long, or the whole batch
TRIAL_SECONDS = 1.0  # after which no further round is begun
ROUNDS = 5
EARNS = 15.0  # compilation is tried if the work lasts this many times as long as compiling probably will


@dataclass(frozen=True)
class Demand:
    """The work ahead, in passes of a whole batch.

    Attributes:
        forward: passes in eval mode without gradient.
        gradient: those with the gradient of the input.
        training: those in train mode, with the gradients of the parameters.
    """

    forward: float = 0.0
    gradient: float = 0.0
    training: float = 0.0


@dataclass(frozen=True)
class Tried:
    """What passes were measured to cost.

    Attributes:
        passes: how they were computed.
        cost: least seconds of one pass of each kind that the work has, 0.0 for the others. On a CPU these are the
            process's seconds, shared out over its threads: other jobs on the machine would stretch the wall's.
        compile_seconds: before the first one, where they are compiled.
        fault: why they cannot be had; empty if they can.
    """

    passes: Passes
    cost: Demand = Demand()
    compile_seconds: float = 0.0
    fault: str = ""

    def seconds(self, demand: Demand) -> float:
        """Of the work, at the trial's batch."""
        cost = self.cost
        return demand.forward * cost.forward + demand.gradient * cost.gradient + demand.training * cost.training


@dataclass(frozen=True)
class Trial:
    """A trial's account.

    Attributes:
        passes: the chosen ones.
        tried: each way of computing them, the plain one first, at the first `rows` rows of the batch; compiled ones,
            and the best of the others once more, at the whole batch.
        rows: of the eager trial's batch.
        seconds: that the trial took.
    """

    passes: Passes
    tried: tuple[Tried, ...] = ()
    rows: int = 0
    seconds: float = 0.0


def candidates(
    images: bool,
    precisions: Sequence[Precision] = ("float32", "bfloat16"),
    layouts: Sequence[bool] = (False, True),
    folded: bool = True,
) -> list[Passes]:
    """The eager ways that are worth trying among those allowed, the most ordinary one first.

    Args:
        images: examples are [C, H, W]; others have no channels_last.
        precisions, layouts: that are allowed; of layouts, True is channels_last.
        folded: whether folding is, which searches by batch statistics have nothing of.
    """
    layouts = [layout for layout in layouts if images or not layout] or [False]
    ways = [Passes(precision, layout) for precision in precisions for layout in layouts]
    return [way if way.plain else replace(way, folded=folded) for way in ways]


def trial(
    model: nn.Module,
    x: Images,
    y: Labels,
    demand: Demand,
    ways: Sequence[Passes],
    *,
    batch_statistics: bool = False,
    compiled: bool | None = None,
) -> Trial:
    """Find the fastest passes for the work ahead. Takes one or two seconds, unless compilation is tried.

    Args:
        model: on its device, in train mode where training is demanded; it stays untouched.
        x, y: a batch of the work's size; only its shape matters.
        demand: the work.
        ways: to choose from; another than the first must beat it by `MARGIN`.
        batch_statistics: of the searches, as in `modes.searching`.
        compiled: True for compiled passes without asking, False for none, None to try where the work is long enough.

    Raises:
        InvalidInput: none of the ways can be had.
    """
    begun = time.perf_counter()
    if len(ways) == 1 and compiled is not None:
        return Trial(replace(ways[0], compiled=compiled))
    # Dropout in the passes would move torch's global generators.
    with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        rows = _rows(model, x, y, demand, batch_statistics)
        tried = _Bench(model, x[:rows], y[:rows], demand, batch_statistics).measure(ways)
        best = _best(tried, demand)
        work = best.seconds(demand) * len(x) / rows
        if compiled is None and work > EARNS * _compile_seconds(model, demand):
            both = [best.passes, replace(best.passes, compiled=True)]
            again = _Bench(model, x, y, demand, batch_statistics).measure(both)
            tried += again
            if not again[1].fault and again[0].seconds(demand) - again[1].seconds(demand) > again[1].compile_seconds:
                best = again[1]
    passes = replace(best.passes, compiled=True) if compiled else best.passes
    return Trial(passes, tuple(tried), rows, time.perf_counter() - begun)


def _best(tried: Sequence[Tried], demand: Demand) -> Tried:
    able = [one for one in tried if not one.fault]
    if not able:
        raise InvalidInput(
            f"{tried[0].passes} passes cannot be had here ({tried[0].fault}); ask for float32 in the usual layout"
        )
    first, best = able[0], min(able, key=lambda one: one.seconds(demand))
    return best if best.seconds(demand) * MARGIN <= first.seconds(demand) else first


def _rows(model: nn.Module, x: Images, y: Labels, demand: Demand, batch_statistics: bool) -> int:
    """How many rows a plain pass takes about `PASS_SECONDS` for on a CPU; 2 at least.

    On other devices all: a few rows take as long there as many, and what is fastest for them says nothing.
    """
    if x.device.type != "cpu":
        return len(x)
    few = min(len(x), 4)
    (seen,) = _Bench(model, x[:few], y[:few], demand, batch_statistics).measure([Passes()], rounds=2)
    longest = max(seen.cost.forward, seen.cost.gradient, seen.cost.training)
    return min(len(x), max(2, int(PASS_SECONDS / longest * few)))


def _compile_seconds(model: nn.Module, demand: Demand) -> float:
    """What compiling the model will probably take: measured were 10 s a kind of pass with 8 layers, 40 s with 70."""
    layers = len([module for module in model.modules() if not any(module.children())])
    kinds = len([amount for amount in vars(demand).values() if amount > 0.0])
    return kinds * (5.0 + 0.5 * layers)


class _Bench:
    """Times the passes of a model at one batch."""

    def __init__(self, model: nn.Module, x: Images, y: Labels, demand: Demand, batch_statistics: bool) -> None:
        self._model, self._x, self._y = model, x, y
        self._batch_statistics = batch_statistics
        self._kinds = [kind for kind, amount in vars(demand).items() if amount > 0.0]

    def measure(self, ways: Sequence[Passes], rounds: int = ROUNDS) -> list[Tried]:
        """The least seconds of each kind of pass, the ways taken in turn in each round."""
        made = [self._begin(way) for way in ways]
        least: list[dict[str, float]] = [{} for _ in ways]
        begun = time.perf_counter()
        for number in range(rounds):
            if number > 1 and time.perf_counter() - begun > TRIAL_SECONDS:
                break
            for (_, calls), seconds in zip(made, least, strict=True):
                for kind, call in calls.items():
                    seconds[kind] = min(self._time(call), seconds.get(kind, float("inf")))
        return [replace(found, cost=Demand(**seconds)) for (found, _), seconds in zip(made, least, strict=True)]

    def _begin(self, way: Passes) -> tuple[Tried, dict[str, Callable[[], object]]]:
        """Make the passes and go through each once, uncounted, in which compiled ones are compiled."""
        begun = time.perf_counter()
        try:
            calls = self._calls(way)
            for call in calls.values():
                call()
        except Exception as error:  # compilers and networks from elsewhere raise what they like
            # Where eager passes find no room, others would not either, and whoever asks may halve the batch.
            if way.plain or (isinstance(error, torch.OutOfMemoryError) and not way.compiled):
                raise
            return Tried(way, fault=f"{type(error).__name__}: {error}".splitlines()[0][:200]), {}
        return Tried(way, compile_seconds=time.perf_counter() - begun if way.compiled else 0.0), calls

    def _calls(self, way: Passes) -> dict[str, Callable[[], object]]:
        x, y = self._x, self._y
        calls: dict[str, Callable[[], object]] = {}
        if set(self._kinds) & {"forward", "gradient"}:
            ask = StandIn(self._model, way, self._batch_statistics)

            def forward() -> object:
                with torch.no_grad():
                    return ask(x)

            def gradient() -> object:
                point = x.detach().requires_grad_()
                return torch.autograd.grad(losses.cross_entropy(ask(point), y).sum(), point)

            calls |= {"forward": forward, "gradient": gradient}
        if "training" in self._kinds:
            outer, images = deepcopy(self._model), laid_out(x, way)
            adapt(outer, way)

            def training() -> None:
                with autocast(way, x.device):
                    loss = losses.cross_entropy(losses.precise(outer(images)), y).mean()
                torch.autograd.backward(loss)
                outer.zero_grad(set_to_none=True)

            calls["training"] = training
        return {kind: calls[kind] for kind in self._kinds}

    def _time(self, call: Callable[[], object]) -> float:
        if self._x.device.type == "cpu":
            begun = time.process_time()
            call()
            return (time.process_time() - begun) / torch.get_num_threads()
        torch.accelerator.synchronize(self._x.device)
        begun = time.perf_counter()
        call()
        torch.accelerator.synchronize(self._x.device)
        return time.perf_counter() - begun
