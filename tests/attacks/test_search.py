"""What drives a search: states that can be cut and joined, one question a step, results without a graph."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from holdfast import losses
from holdfast.attacks import (
    APGD,
    DLR,
    FAB,
    FGSM,
    FMN,
    PGD,
    Attack,
    CrossEntropy,
    Divergence,
    Margin,
    Query,
    Square,
    State,
    TargetedDLR,
    run,
)
from holdfast.attacks.base import evaluate
from holdfast.data import ImageSet
from holdfast.errors import InvalidInput
from holdfast.evaluation import evaluate as assess
from holdfast.evaluation import protocol
from holdfast.evaluation.examples import Counted
from holdfast.evaluation.judge import judge
from holdfast.noise import Noise
from holdfast.threat import L1, L2, Linf, ThreatModel

NOISE = Noise.of(6, torch.arange(12))


def test_the_result_is_that_of_start_and_steps(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    attack, threat = PGD(steps=3), Linf(0.1)
    state = attack.start(threat, images, labels, NOISE)
    for _ in range(3):
        state = attack.step(threat, cnn, state)
    found = run(attack, threat, cnn, images, labels, NOISE)
    assert torch.equal(found.x_adv, state.x_adv)
    assert found.iteration.tolist() == [3] * 12
    assert not found.x_adv.requires_grad


def test_inputs_with_a_graph_are_taken_as_numbers(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    x = images.clone().requires_grad_()
    found = run(PGD(steps=2), Linf(0.1), cnn, 1.0 * x, labels, NOISE)
    assert not any(tensor.requires_grad for tensor in (found.x, found.point, found.x_adv))
    assert x.grad is None


def test_whatever_an_attack_does_its_result_is_a_constant(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    class KeepsItsGraph(PGD):
        def step(self, threat: ThreatModel, model: nn.Module, state: State) -> State:
            return replace(state, x_adv=state.x * next(model.parameters()).sum())

    assert not run(KeepsItsGraph(steps=1), Linf(0.1), cnn, images, labels, NOISE).x_adv.requires_grad


@pytest.mark.parametrize("attack", [PGD(steps=3), APGD(steps=3)], ids=lambda a: a.name)
def test_select_and_concat_are_inverse(attack: PGD | APGD, cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    threat = Linf(0.1)
    state: State = attack.step(threat, cnn, attack.start(threat, images, labels, NOISE))
    first, rest = torch.arange(12) < 5, torch.arange(5, 12)
    joined = type(state).concat([state.select(first), state.select(rest)])
    assert type(joined) is type(state)
    for field in fields(state):
        a, b = getattr(joined, field.name), getattr(state, field.name)
        a, b = (a.keys, b.keys) if field.name == "noise" else (a, b)
        assert torch.equal(a, b), field.name
        assert len(a) == 12, field.name


def test_a_question_gives_each_row_its_own_gradient(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    state = FGSM().start(Linf(0.1), images, labels, NOISE)
    together = evaluate(cnn, CrossEntropy(), state)
    for i in range(12):
        alone = evaluate(cnn, CrossEntropy(), state.select(torch.tensor([i])))
        assert torch.allclose(together.gradient[i], alone.gradient[0], atol=1e-6)
        assert torch.allclose(together.value[i], alone.value[0], atol=1e-5)
    assert torch.equal(together.wrong, cnn(images).argmax(dim=1) != labels)
    assert not together.logits.requires_grad
    assert all(p.grad is None for p in cnn.parameters())


def test_criteria_are_the_losses_of_their_names() -> None:
    logits, y, target = Noise.of(1, torch.arange(12)).normal((5,)), torch.arange(12) % 5, (torch.arange(12) + 2) % 5
    query = Query(logits, y, target, logits)
    reference = logits.flip(0)
    for criterion, expected in (
        (CrossEntropy(), losses.cross_entropy(logits, y)),
        (Margin(), -losses.margin(logits, y)),
        (DLR(), losses.dlr(logits, y)),
        (TargetedDLR(), losses.targeted_dlr(logits, y, target)),
        (Divergence(reference), losses.kl(reference, logits)),
    ):
        assert torch.equal(criterion(logits, query), expected), str(type(criterion))


def test_untargeted_searches_say_so(images: Tensor, labels: Tensor) -> None:
    assert FGSM().start(Linf(0.1), images, labels, NOISE).target.tolist() == [-1] * 12
    aimed = FGSM().start(Linf(0.1), images, labels, NOISE, labels.flip(0))
    assert torch.equal(aimed.target, labels.flip(0))


@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.25), L1(1.0)], ids=str)
def test_more_search_finds_no_less(bn_cnn: nn.Module, threat: ThreatModel) -> None:
    """T20: PGD-1 >= PGD-20 >= AutoAttack in robust accuracy; for the sake of time, its Square has 200 queries."""
    model, count = bn_cnn.eval(), 40
    x = Noise.of(7, torch.arange(count)).uniform((2, 6, 6))
    noise = Noise.of(8, torch.arange(count))
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    robust = []
    for attack in (PGD(steps=1), PGD(steps=20)):
        found = run(attack, threat, model, x, y, noise).x_adv
        with torch.no_grad():
            robust.append((model(found).argmax(dim=1) == y).float().mean().item())
    whole = protocol("autoattack", threat)
    attacks = tuple(replace(one, queries=200) if isinstance(one, Square) else one for one in whole.attacks)
    images = ImageSet(x, y, tuple("abcde"), "noise/test")
    found_by_all = assess(
        model, images, threat, replace(whole, attacks=attacks), precision="float32", with_curves=False, progress=False
    )
    robust.append(found_by_all.verdicts.robust_accuracy)
    assert 0 < robust[2] < 1
    assert robust[0] > robust[1] >= robust[2] - 0.005, robust


def test_half_precision_models_are_asked_in_their_precision(cnn: nn.Module, images: Tensor, labels: Tensor) -> None:
    state = FGSM().start(Linf(0.1), images, labels, NOISE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = evaluate(cnn, CrossEntropy(), state)
    assert answer.logits.dtype == answer.value.dtype == answer.gradient.dtype == torch.float32


def test_empty_batches_end_empty(linear: nn.Module, images: Tensor, labels: Tensor) -> None:
    for attack in (PGD(steps=2), APGD(steps=2)):
        found = run(attack, L2(0.1), linear, images[:0], labels[:0], replace(NOISE, keys=NOISE.keys[:0]))
        assert found.x_adv.shape == (0, 2, 6, 6)


@pytest.mark.parametrize("cut", ["the graph ends", "another graph"])
def test_a_model_that_passes_no_gradient_is_refused_in_our_words(
    cnn: nn.Module, images: Tensor, labels: Tensor, cut: str
) -> None:
    def blind(x: Tensor) -> Tensor:
        return cnn(x.detach()).detach() if cut == "the graph ends" else cnn(x.detach())

    with pytest.raises(InvalidInput, match="no gradient reaches the model's input"):
        run(PGD(steps=1), Linf(0.1), blind, images, labels, NOISE)


@pytest.mark.parametrize(
    "attack", [PGD(steps=2, early_stop=True), APGD(steps=2), FAB(steps=2), FMN(steps=2), Square(queries=2)], ids=str
)
def test_at_a_tie_of_logits_argmax_decides(images: Tensor, attack: Attack[Any]) -> None:
    """All logits tie everywhere, so every margin is 0: the label that argmax gives is safe, every other is broken."""

    def undecided(x: Tensor) -> Tensor:
        return 0.0 * x.flatten(1).sum(dim=1, keepdim=True).expand(-1, 5)

    predicted = int(undecided(images[:1]).argmax())
    for label, broken in ((predicted, False), ((predicted + 1) % 5, True)):
        y = torch.full((12,), label)
        target = torch.full((12,), (label + 1) % 5) if attack.targets else None
        found = run(attack, Linf(0.1), undecided, images, y, NOISE, target)
        judged = judge(Counted(undecided), Linf(0.1), attack.name, images, y, found.x_adv)  # type: ignore[arg-type]
        assert judged.broken.tolist() == found.success.tolist() == [broken] * 12
