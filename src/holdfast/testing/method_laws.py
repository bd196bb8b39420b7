"""The laws of a method: a loss that is a function of its arguments, costs what it says and searches inside S(x)."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from holdfast.methods import Batch, Loss, Method, Progress, Task
from holdfast.noise import Noise
from holdfast.testing.laws import Laws
from holdfast.testing.subjects import CLASSES, Meter, RowExact, batch_norm_network, inputs, metered, norms
from holdfast.threat import L2, Linf, ThreatModel
from holdfast.typing import Images, Logits

COUNT = 8
FIRST = 100  # the least of the examples' positions in the training set
THREATS = (Linf(0.1), L2(0.6))
LATE = Progress(fraction=0.75, epoch=3, step=75, steps=100)


def check_method(
    method: Method,
    threats: Sequence[ThreatModel] = THREATS,
    model: nn.Module | None = None,
    shape: Sequence[int] = (2, 4, 5),
    leaves_ball: bool = False,
    leaves_box: bool = False,
) -> None:
    """Check a method under every threat model that it is made for.

    Args:
        method: an instance; give it few inner steps.
        threats: with eps above 0.
        model: inputs of `shape` to logits of 5 classes, without BatchNorm or dropout. By default a small smooth
            network. A network with BatchNorm is checked besides.
        shape: of one example.
        leaves_ball: for a method that trains on points out of the ball, but not out of the box.
        leaves_box: for a method with a term that is taken at points out of the box, and of the ball.

    Raises:
        AssertionError: a law is broken; the message says which and by how much.
    """
    plain = RowExact(shape) if model is None else model
    for threat in threats:
        for network in (plain, batch_norm_network(shape)):
            trial = _Trial(method, threat, network, shape, leaves_ball, leaves_box)
            trial.check_purity()
            trial.check_value()
            trial.check_warm_up()
            trial.check_memory()
            trial.check_precision()
            trial.check_hooks()
        _Trial(method, threat, plain, shape, leaves_ball, leaves_box).check_order()


class _Trial:
    """One method on one network under one threat model."""

    def __init__(
        self,
        method: Method,
        threat: ThreatModel,
        model: nn.Module,
        shape: Sequence[int],
        leaves_ball: bool,
        leaves_box: bool,
    ) -> None:
        kind = "a network with BatchNorm" if norms(model) else "a network without BatchNorm"
        self.laws = Laws(f"{type(method).__name__} under {threat} on {kind}")
        self.method, self.threat = method, threat
        self.leaves_ball, self.leaves_box = leaves_ball, leaves_box
        self.model = model
        self.batch = Batch(inputs(threat, COUNT, shape), torch.arange(COUNT) % CLASSES, torch.arange(COUNT) + FIRST)
        self.noise = Noise.of(37, self.batch.index)

    def loss(
        self,
        model: nn.Module,
        threat: ThreatModel | None = None,
        progress: Progress = LATE,
        batch: Batch | None = None,
        noise: Noise | None = None,
        state: nn.Module | None = None,
    ) -> Loss:
        batch, noise = batch or self.batch, noise or self.noise
        state = self.state(model) if state is None else state
        return self.method.loss(model, batch, threat or self.threat, state, progress, noise)

    def state(self, model: nn.Module) -> nn.Module | None:
        task = Task(CLASSES, FIRST + COUNT, COUNT, tuple(self.batch.x.shape[1:]))
        with torch.random.fork_rng(devices=[]):
            return self.method.init(model, task)

    def fresh(self) -> nn.Module:
        model = copy.deepcopy(self.model).train()
        model.zero_grad(set_to_none=True)
        return model

    def check_value(self) -> None:
        """The value, its gradient, its price and the points it is taken at."""
        laws, model = self.laws, self.fresh()
        state = self.state(model)
        with metered(model) as meter, laws.model_rests(model, buffers=False):
            loss = self.method.loss(model, self.batch, self.threat, state, LATE, self.noise)
        _check_loss(laws, loss)
        outer = _differentiated(loss, meter)
        self._check_points(outer, self.threat)
        moving = sum(meter.moving[position] for position in _outer(meter))
        for norm in norms(model):
            moved = int(norm.get_buffer("num_batches_tracked"))
            laws.require(
                0 < moved == moving,
                "running statistics move in the outer passes in train mode alone",
                f"they moved {moved} times, in {moving} such passes",
            )
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            laws.require(gradient is not None, f"the parameter {name} gets a gradient")
            if gradient is not None:
                laws.require(gradient.isfinite(), f"the gradient of {name} is finite")
                laws.require(bool(gradient.any()), f"the gradient of {name} is not 0 everywhere")
        self._check_passes(meter)

    def _check_passes(self, meter: Meter) -> None:
        twice, said, counted = meter.double_rows > 0, self.method.passes, meter.passes(COUNT)
        self.laws.require(
            self.method.differentiates_twice == twice,
            "`differentiates_twice` is said where a gradient is differentiated again, and only there",
        )
        self.laws.require(
            abs(counted - said) <= 1e-6,
            "`passes` is what a step costs",
            f"it says {said:.4g}, counted are {counted:.4g}",
        )

    def _check_points(self, outer: list[Images], threat: ThreatModel) -> None:
        self.laws.require(len(outer) > 0, "the loss comes from the model", "its gradient reaches no pass")
        for points in outer:
            fits = len(points) % COUNT == 0
            self.laws.require(fits, "outer passes take the batch once or several times", f"{len(points)} rows")
            for part in () if self.leaves_box else torch.split(points, COUNT):
                low, high = part.min().item(), part.max().item()
                far = threat.distance(self.batch.x, part).max().item()
                where = f"distance up to {far:.6g}, values in [{low:.6g}, {high:.6g}]"
                if self.leaves_ball:
                    self.laws.require(low >= threat.low and high <= threat.high, "outer points lie in the box", where)
                else:
                    self.laws.require(threat.contains(self.batch.x, part), "outer points lie in S(x)", where)

    def check_warm_up(self) -> None:
        """The first steps of training: eps 0, and the first step of all."""
        first = Progress(fraction=0.0, epoch=0, step=0, steps=100)
        none = self.threat.scaled(0.0)
        for threat, progress in ((none, first), (none, LATE), (self.threat, first)):
            model = self.fresh()
            with metered(model) as meter:
                loss = self.loss(model, threat, progress)
            _check_loss(self.laws, loss)
            self._check_points(_differentiated(loss, meter), threat)

    def check_purity(self) -> None:
        """Arguments in, value out, nothing else."""
        batch, keys = self.batch, self.noise.keys
        model = self.fresh()
        with self.laws.unmodified(x=batch.x, y=batch.y, index=batch.index, keys=keys):
            value = self.loss(model).value
        self.laws.equal(self.loss(self.fresh()).value, value, "the same arguments give the same value")
        busy = self.fresh()
        for parameter in busy.parameters():
            parameter.grad = torch.ones_like(parameter)
        with self.laws.model_rests(busy, buffers=False):
            accumulated = self.loss(busy).value
        self.laws.equal(accumulated, value, "gradients that wait in .grad change nothing")

    def check_memory(self) -> None:
        """All that a method remembers is in its state's state_dict, which is what a checkpoint holds."""
        model = self.fresh()
        state = self.state(model)
        if state is None:
            return
        for turn in range(2):
            torch.autograd.backward(self.loss(model, state=state).value)
            restored = self.state(model)
            assert restored is not None
            restored.load_state_dict(state.state_dict())
            values = [self.loss(self.fresh(), state=one).value for one in (state, restored)]
            self.laws.equal(values[1], values[0], f"a state that was saved after {turn + 1} steps goes on as it would")

    def check_precision(self) -> None:
        """What is differentiated twice keeps its digits, whatever the precision of the other passes."""
        model = self.fresh()
        coarse = []

        def watch(module: nn.Module, arguments: tuple[Images, ...], logits: Logits) -> None:
            kind = logits.dtype

            def note(gradient: Logits) -> None:
                # Only a backward pass that is recorded can be differentiated.
                if torch.is_grad_enabled() and (kind == torch.bfloat16 or torch.is_autocast_enabled("cpu")):
                    coarse.append(kind)

            if logits.requires_grad:
                logits.register_hook(note)  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped

        hook = model.register_forward_hook(watch)
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.loss(model)
        hook.remove()
        _check_loss(self.laws, loss)
        self.laws.require(not coarse, "a gradient that is differentiated again is computed outside of autocast")

    def check_hooks(self) -> None:
        """A network that was compiled before a hook was there goes past it, and what the hook should see is missing."""
        placed = []

        def place(module: nn.Module, *arguments: Any, **options: Any) -> RemovableHandle:
            placed.append(module)
            return own(module, *arguments, **options)

        model, own = self.fresh(), nn.Module.register_forward_hook
        state = self.state(model)
        nn.Module.register_forward_hook = place  # type: ignore[assignment,method-assign]
        try:
            self.loss(model, state=state)
        finally:
            nn.Module.register_forward_hook = own  # type: ignore[method-assign]
        self.laws.require(
            not (placed and self.method.compilable), "a method whose loss registers hooks is not `compilable`"
        )

    def check_order(self) -> None:
        """The loss belongs to the set of examples, not to their order."""
        order = torch.arange(COUNT).roll(3).flip(0)
        batch = Batch(self.batch.x[order], self.batch.y[order], self.batch.index[order])
        value = self.loss(self.fresh()).value
        permuted = self.loss(self.fresh(), batch=batch, noise=self.noise.select(order)).value
        self.laws.equal(permuted, value, "a permuted batch has the same loss", 1e-5 * (1.0 + value.abs().item()))


def _differentiated(loss: Loss, meter: Meter) -> list[Images]:
    """Go backwards from a loss; the inputs of the passes that it is made of."""
    meter.reached.clear()
    torch.autograd.backward(loss.value)
    return [meter.asked[position] for position in sorted(_outer(meter))]


def _outer(meter: Meter) -> set[int]:
    """The passes that train: those that the loss's gradient came through, or, where it came through none because the
    method had gone backwards itself, those that it got gradients of parameters from."""
    return meter.reached or meter.learned


def _check_loss(laws: Laws, loss: Loss) -> None:
    value = loss.value
    laws.require(value.shape == (), "the loss is a scalar", f"its shape is {list(value.shape)}")
    laws.require(value.dtype == torch.float32, "the loss is float32", f"it is {value.dtype}")
    laws.require(value.isfinite(), "the loss is finite", f"it is {value.item()}")
    laws.require(value.requires_grad, "the loss has a graph")
    for name, part in loss.parts.items():
        laws.require(part.shape == (), f"the part {name} is a scalar", f"its shape is {list(part.shape)}")
        laws.require(not part.requires_grad, f"the part {name} is detached")
        if name.endswith("accuracy"):
            laws.require(0.0 <= part.item() <= 1.0, f"the part {name} lies in [0, 1]", f"it is {part.item():g}")
