"""The laws of an attack: a search that stays in S(x), treats every row by itself and leaves the world as it was."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from holdfast import losses
from holdfast.attacks import Attack, CrossEntropy, Query, State, run
from holdfast.noise import Noise
from holdfast.testing.laws import Laws
from holdfast.testing.subjects import RowExact, batch_norm_network, inputs, labelled, metered
from holdfast.threat import L1, L2, Linf, ThreatModel
from holdfast.typing import Images, Labels, PerExample

COUNT = 10
THREATS = (Linf(0.1), L2(0.6), L1(2.0))


def check_attack(
    attack: Attack[Any],
    threats: Sequence[ThreatModel] = THREATS,
    model: nn.Module | None = None,
    shape: Sequence[int] = (2, 4, 5),
    random: bool | None = None,
    leaves_ball: bool = False,
) -> None:
    """Check an attack under every threat model that it is made for.

    Args:
        attack: an instance; give it few steps, since it runs about ten times for each threat model.
        threats: with eps above 0 and small against the box.
        model: inputs of `shape` to logits, rows treated separately (no BatchNorm in train mode), float32. By default a
            small smooth network. A model whose rows round differently in other batches can break the laws of
            independence by no fault of the attack.
        shape: of one example.
        random: whether the result depends on the noise; None if it may or may not.
        leaves_ball: for a training attack that is allowed out of the ball, but not out of the box.

    Raises:
        AssertionError: a law is broken; the message says which and by how much.
    """
    for threat in threats:
        searched = RowExact(shape) if model is None else model
        search = _Search(attack, threat, searched, shape, leaves_ball)
        search.check_result()
        search.check_keys(random)
        search.check_rows()
        search.check_packing()
        search.check_leaps()
        search.check_budget()
        search.check_gradient_modes()
        _check_batch_norm(attack, threat, shape)


class _Search:
    """One attack under one threat model, with the result of a plain run to compare with."""

    def __init__(
        self, attack: Attack[Any], threat: ThreatModel, model: nn.Module, shape: Sequence[int], leaves_ball: bool
    ) -> None:
        self.laws = Laws(f"{attack.name} under {threat}")
        self.attack, self.threat, self.model, self.leaves_ball = attack, threat, model, leaves_ball
        self.x = inputs(threat, COUNT, shape)
        self.y, classes = labelled(model, self.x)
        self.noise = Noise.of(29, torch.arange(COUNT))
        self.target: Labels | None = (self.y + 2) % classes if attack.targets else None
        with (
            self.laws.unmodified(x=self.x, y=self.y, keys=self.noise.keys),
            self.laws.model_rests(model),
            metered(model) as meter,
        ):
            self.plain = self.searched()
        self.asked = meter.asked

    def searched(self, noise: Noise | None = None, threat: ThreatModel | None = None) -> State:
        noise = self.noise if noise is None else noise
        state: State = run(self.attack, threat or self.threat, self.model, self.x, self.y, noise, self.target)
        return state

    def started(self, rows: torch.Tensor) -> State:
        target = None if self.target is None else self.target[rows]
        state: State = self.attack.start(self.threat, self.x[rows], self.y[rows], self.noise.select(rows), target)
        return state

    def check_result(self) -> None:
        laws, threat, found = self.laws, self.threat, self.plain
        laws.require(found.x_adv.shape == self.x.shape, "x_adv has the shape of x", f"{list(found.x_adv.shape)}")
        laws.require(found.x_adv.dtype == self.x.dtype, "x_adv has the dtype of x", f"{found.x_adv.dtype}")
        laws.require(not found.x_adv.requires_grad, "x_adv carries no graph")
        far = threat.distance(self.x, found.x_adv).max().item()
        low, high = found.x_adv.min().item(), found.x_adv.max().item()
        where = f"distance up to {far:.6g}, values in [{low:.6g}, {high:.6g}]"
        if self.leaves_ball:
            laws.require(low >= threat.low and high <= threat.high, "x_adv lies in the box", where)
        else:
            laws.require(threat.contains(self.x, found.x_adv), "x_adv lies in S(x)", where)
            none = self.searched(threat=threat.scaled(0.0))
            laws.equal(none.x_adv, self.x, "with eps 0 x_adv is x", 1e-6 * (threat.high - threat.low))
        if not self.attack.hands_over_unseen:
            # Row by row: an attack need not ask about all of its rows in each step.
            asked = {row.numpy().tobytes() for batch in self.asked for row in batch.cpu()}
            shown = torch.tensor([row.numpy().tobytes() in asked for row in found.x_adv.cpu()])
            laws.require(shown, "x_adv was shown to the model, unless the attack says `hands_over_unseen`")
        with torch.no_grad():
            wrong = self.model(found.x_adv).argmax(dim=1) != self.y
        laws.require(
            wrong | ~found.success,
            "success is claimed only where the model is wrong at x_adv",
            f"{int((found.success & ~wrong).sum())} of {len(wrong)} rows are right",
        )
        before, after = self._criterion(self.x).mean().item(), self._criterion(found.x_adv).mean().item()
        laws.require(after > before, "the criterion rises on average", f"it went from {before:.4g} to {after:.4g}")

    def _criterion(self, x_adv: Images) -> PerExample:
        """What the attack climbs, as far as it says so; otherwise cross-entropy."""
        with torch.no_grad():
            criterion = getattr(self.attack, "criterion", CrossEntropy())
            value: PerExample = criterion(
                losses.precise(self.model(x_adv)), Query(self.x, self.y, self.plain.target, x_adv)
            )
        return value

    def check_keys(self, random: bool | None) -> None:
        self.laws.equal(self.searched().x_adv, self.plain.x_adv, "the same keys give the same result")
        other = self.searched(self.noise.fold(1)).x_adv
        if random is not None:
            differs = not torch.equal(other, self.plain.x_adv)
            self.laws.require(differs == random, f"other keys give {'another' if random else 'the same'} result")

    def check_rows(self) -> None:
        order = torch.arange(COUNT).roll(3).flip(0)
        permuted = self._finished(self.started(order))
        self.same(permuted, order, "a permuted batch gives the permuted result")
        for part in (torch.arange(COUNT - 1), torch.tensor([COUNT - 1])):
            self.same(self._finished(self.started(part)), part, "a row's result is the same in a smaller batch")

    def check_packing(self) -> None:
        """Rows that start later than others, beside them, and leave when they are done, as an evaluator packs them."""
        waiting = [torch.arange(COUNT)[i::3] for i in range(3)]
        active, index = self.started(waiting[0]), waiting[0]
        finished: list[tuple[torch.Tensor, State]] = []
        time = 0
        while len(index) or time < len(waiting):
            active = self.attack.step(self.threat, self.model, active)
            time += 1
            done = active.iteration >= self.attack.budget
            finished.append((index[done], active.select(done)))
            active, index = active.select(torch.nonzero(~done)[:, 0]), index[~done]
            if time < len(waiting):
                active = type(active).concat([active, self.started(waiting[time])])
                index = torch.cat([index, waiting[time]])
        for rows, state in finished:
            self.same(state, rows, "a row goes on in mid-search as it would have gone on alone (select and concat)")

    def check_leaps(self) -> None:
        """Several iterations at once, from where the rows happen to be."""
        steps = [self.started(torch.arange(COUNT))]
        for _ in range(self.attack.budget):
            steps.append(self.attack.step(self.threat, self.model, steps[-1]))
        width, law = self.threat.high - self.threat.low, "a leap gives what as many steps give"
        for most in (2, 5):
            state = self.started(torch.arange(COUNT))
            while bool((state.iteration < self.attack.budget).any()):
                before = state.iteration
                state = self.attack.leap(self.threat, self.model, state, most)
                # A row whose budget is spent waits for the others.
                taken = (state.iteration - before)[before < self.attack.budget]
                self.laws.require((taken >= 1) & (taken <= most), "a leap takes at least one step and at most `most`")
                for row, iteration in enumerate(state.iteration.tolist()):
                    if iteration > self.attack.budget:
                        continue
                    stepped = steps[iteration]
                    for name in ("point", "x_adv"):
                        self.laws.equal(getattr(state, name)[row], getattr(stepped, name)[row], law, 1e-6 * width)
                    self.laws.equal(state.success[row], stepped.success[row], f"{law}: success")

    def _finished(self, state: State) -> State:
        for _ in range(self.attack.budget):
            state = self.attack.step(self.threat, self.model, state)
        return state

    def same(self, state: State, rows: torch.Tensor, law: str) -> None:
        if not len(rows):
            return
        width = self.threat.high - self.threat.low
        self.laws.equal(state.x_adv, self.plain.x_adv[rows], law, 1e-6 * width)
        self.laws.equal(state.success, self.plain.success[rows], f"{law}: success")

    def check_budget(self) -> None:
        state = self.started(torch.arange(COUNT))
        self.laws.equal(state.iteration, torch.zeros_like(state.y), "iteration begins at 0")
        for taken in range(1, self.attack.budget + 1):
            with metered(self.model) as meter:
                state = self.attack.step(self.threat, self.model, state)
            passes = self.attack.passes
            self.laws.require(
                passes is None or max(meter.forward_rows, meter.backward_rows) <= COUNT * passes,
                f"a step asks the model at most {passes} times forwards and backwards (`passes`)",
                f"{meter.forward_rows / COUNT:g} forward and {meter.backward_rows / COUNT:g} backward passes in a step",
            )
            self.laws.equal(state.iteration, torch.full_like(state.y, taken), "iteration counts the steps")
            graph = state.point.requires_grad or state.x_adv.requires_grad
            self.laws.require(not graph, "a state carries no graph from step to step")

    def check_gradient_modes(self) -> None:
        with torch.no_grad():
            self.laws.equal(self.searched().x_adv, self.plain.x_adv, "torch.no_grad around a search changes nothing")
        needed = [(p, p.requires_grad) for p in self.model.parameters()]
        try:
            for parameter, _ in needed:
                parameter.requires_grad_(False)
            self.laws.equal(self.searched().x_adv, self.plain.x_adv, "frozen parameters change nothing", 1e-6)
        finally:
            for parameter, before in needed:
                parameter.requires_grad_(before)


def _check_batch_norm(attack: Attack[Any], threat: ThreatModel, shape: Sequence[int]) -> None:
    laws = Laws(f"{attack.name} under {threat} on a network with BatchNorm in eval mode")
    model = batch_norm_network(shape).eval()
    x = inputs(threat, COUNT, shape)
    y, classes = labelled(model, x)
    target = (y + 2) % classes if attack.targets else None
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with laws.model_rests(model), laws.unmodified(x=x, y=y):
        run(attack, threat, model, x, y, Noise.of(31, torch.arange(COUNT)), target)
