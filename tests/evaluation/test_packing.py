"""The packed loop against searching one example after the other."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.attacks import APGD, PGD, Attack, State, TargetedDLR, run
from holdfast.data import ImageSet
from holdfast.evaluation.examples import Counted, Examples, Subject, look
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.noise import Noise, stream_seed
from holdfast.threat import Linf

EPS = 0.05  # of the closed form in conftest.py

ATTACKS = (
    PGD(steps=6, step_size=0.1, restarts=4, early_stop=True),
    APGD(steps=12, criterion=TargetedDLR(), target_classes=3, restarts=2),
)


def subject(model: nn.Module, images: ImageSet, targets: int, batch_size: int) -> tuple[Subject, list[int]]:
    counted, examples = Counted(model), Examples(images, torch.device("cpu"))
    clean = look(counted, examples, range(len(images)), 64, targets)
    right = (clean.prediction == images.labels).nonzero().flatten().tolist()
    return Subject(counted, examples, clean.ranking, 0, batch_size), right


def one_by_one(attack: Attack[State], threat: Linf, on: Subject, example: int) -> tuple[int, int]:
    """(first search that succeeds or -1, prediction or -1), the slow and plain way."""
    x, y = on.examples.rows([example])
    stream = stream_seed(*attack.name.encode()) >> 1
    for search in range(max(attack.targets, 1) * attack.restarts):
        noise = Noise.of(on.seed, torch.tensor([example]), stream).fold(torch.tensor([search]))
        target = on.ranking[[example], search // attack.restarts] if attack.targets else None
        x_adv = run(attack, threat, on.model, x, y, noise, target).x_adv
        prediction = int(on.model(x_adv).argmax())
        if prediction != int(y):
            return search, prediction
    return -1, -1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("batch_size", [5, 64])
def test_packing_decides_as_one_by_one(
    model: nn.Module, images: ImageSet, attack: Attack[State], batch_size: int
) -> None:
    threat = Linf(EPS)
    on, right = subject(model, images, attack.targets, batch_size)
    decisions: dict[int, Decision] = {}

    def note(fallen: Sequence[Decision]) -> None:
        for decision in fallen:
            assert decision.example not in decisions, "an example was decided twice"
            decisions[decision.example] = decision

    PackedSearch(attack, threat, on, note).run(right)
    assert sorted(decisions) == right
    winners = set()
    for example, decision in decisions.items():
        search, prediction = one_by_one(attack, threat, on, example)
        winners.add(search)
        assert decision.prediction == prediction, example
        spent = decision.steps - max(search, 0) * attack.budget
        if search >= 0:
            assert 0 < spent <= attack.budget
        else:
            assert decision.steps == attack.budget * max(attack.targets, 1) * attack.restarts
    assert len(winners) > 1, "the fixture must have both outcomes"


def test_packing_shows_the_model_less_than_one_by_one(model: nn.Module, images: ImageSet) -> None:
    """Successes cancel what waits behind them, and nothing runs that would not have run alone."""
    attack, threat = replace(ATTACKS[0], restarts=20), Linf(2 * EPS)
    on, right = subject(model, images, 0, 16)
    before, decided = on.model.backward, []
    PackedSearch(attack, threat, on, decided.extend).run(right)
    packed = on.model.backward - before
    alone = sum(decision.steps for decision in decided)
    # Rows in flight when an example falls, and rows that wait for the next refill, are the only extra.
    assert packed <= alone + 16 * len(right)
    assert packed < 0.8 * attack.budget * attack.restarts * len(right)


def test_a_refuted_claim_goes_on_searching(model: nn.Module, images: ImageSet) -> None:
    attack, threat = ATTACKS[0], Linf(EPS)
    on, right = subject(model, images, 0, 64)
    honest: list[Decision] = []
    PackedSearch(attack, threat, on, honest.extend).run(right)

    class Liar(PGD):
        def step(self, threat: Linf, model: nn.Module, state: State) -> State:  # type: ignore[override]
            done = super().step(threat, model, state)
            return replace(done, success=done.success | (done.iteration == 2))

    lying: list[Decision] = []
    fields = {name: getattr(attack, name) for name in ("steps", "step_size", "restarts", "early_stop")}
    PackedSearch(Liar(**fields), threat, on, lying.extend).run(right)
    outcome = {decision.example: decision.prediction for decision in honest}
    assert {decision.example: decision.prediction for decision in lying} == outcome


def test_a_decision_holds_its_own_adversary_and_not_the_batch(model: nn.Module, images: ImageSet) -> None:
    on, right = subject(model, images, 0, 64)
    decisions: list[Decision] = []
    PackedSearch(ATTACKS[0], Linf(EPS), on, decisions.extend).run(right)
    for decision in decisions:
        assert decision.x_adv.untyped_storage().nbytes() == decision.x_adv.nbytes
