"""Searches by cheaper passes: the model itself has the last word on every verdict."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, PGD, Attack
from holdfast.data import ImageSet
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.evaluation import Protocol, evaluate
from holdfast.evaluation.examples import Counted, Examples, Subject, look
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.evaluation.precision import Mixed, settle
from holdfast.processes import processes
from holdfast.results import Evaluation
from holdfast.speed import PLAIN, StandIn
from holdfast.threat import Linf

EPS = 0.05
THREAT = Linf(EPS)
ATTACKS = (PGD(steps=12, step_size=0.2, early_stop=True), APGD(steps=20))


def decisions(attack: Attack, model: nn.Module, cheap: nn.Module | None, images: ImageSet) -> dict[int, bool]:
    """Which examples stand on `model` after a search that asks `cheap`."""
    counted, examples = Counted(model), Examples(images, torch.device("cpu"))
    clean = look(counted, examples, range(len(images)), 64, 0)
    right = (clean.prediction == images.labels).nonzero().flatten().tolist()
    told: list[Decision] = []

    def note(fallen: Sequence[Decision]) -> None:
        told.extend(fallen)

    subject = Subject(counted, examples, clean.ranking, 0, 8, cheap=Counted(cheap) if cheap else None)
    PackedSearch(attack, THREAT, subject, note).run(right)
    assert sorted(decision.example for decision in told) == right, "every example is decided once"
    return {decision.example: decision.prediction < 0 for decision in told}


def alone(attack: Attack, model: nn.Module, images: ImageSet) -> dict[int, bool]:
    """What the model's own passes decide."""
    found = decisions(attack, model, None, images)
    assert len(set(found.values())) == 2, "the fixture must have both outcomes"
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_cheaper_passes_miss_is_judged_on_the_model(model: nn.Module, images: ImageSet, attack: Attack) -> None:
    """Passes that never see a wrong prediction still climb, and their strongest candidates break what can be broken."""

    class Sure(nn.Module):
        """Always prefers the label, which it finds by the nearest clean input."""

        def forward(self, x: Tensor) -> Tensor:
            y = images.labels[torch.cdist(x.detach(), images.images).argmin(dim=1)]
            return model(x) + 3.0 * nn.functional.one_hot(y, model.out_features)

    found = decisions(attack, model, Sure(), images)
    assert found == alone(attack, model, images)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_claims_that_the_model_denies_go_on_on_the_model(model: nn.Module, images: ImageSet, attack: Attack) -> None:
    """Passes that call everything wrong would stop each search at its first point."""

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -model(x)

    found = decisions(attack, model, Wrong(), images)
    assert found == alone(attack, model, images)


def test_passes_without_a_slope_are_finished_on_the_model(model: nn.Module, images: ImageSet) -> None:
    class Flat(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return model(x.detach()) + 0.0 * x.sum(dim=1, keepdim=True)

    found = decisions(ATTACKS[0], model, Flat(), images)
    assert found == alone(ATTACKS[0], model, images)


def test_rows_are_asked_of_the_one_or_the_other(model: nn.Module, images: ImageSet) -> None:
    mixed = Mixed(Counted(model), Counted(lambda x: 2.0 * model(x)))
    x = images.images[:6].clone().requires_grad_()
    exact = torch.tensor([True, False, False, True, False, True])
    mixed.exact = exact
    logits = mixed(x)
    torch.testing.assert_close(logits, model(x) * torch.where(exact, 1.0, 2.0)[:, None])
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    torch.testing.assert_close(gradient, model.weight[0] * torch.where(exact, 1.0, 2.0)[:, None])
    assert (mixed.cheap.forward, mixed.model.forward, mixed.model.backward) == (3, 3, 3)
    torch.testing.assert_close(mixed(images.images), model(images.images))  # another size: all of the model


def run(model: nn.Module, images: ImageSet, precision: str, folder: Path | None = None) -> Evaluation:
    suite = Protocol("suite", "1", ATTACKS)
    return evaluate(model, images, THREAT, suite, precision=precision, folder=folder, with_curves=False, progress=False)


def test_bfloat16_searches_give_the_model_its_verdicts(
    model: nn.Module, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    class Watched(StandIn):
        def __call__(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return super().__call__(x)

    monkeypatch.setattr(importlib.import_module("holdfast.evaluation.evaluate"), "StandIn", Watched)
    found = run(model, images, "bfloat16")
    assert asked, "the searches ask the stand-in"
    assert found.precision.startswith("bfloat16")
    assert found.verdicts.robust.tolist() == run(model, images, "float32").verdicts.robust.tolist()
    cost = found.passes["apgd-ce"]
    assert cost.calls > 0
    assert 1.0 < cost.rows_per_call <= 256
    assert 0.0 < cost.model_share < 1.0


def test_short_evaluations_ask_the_model_itself(
    model: nn.Module, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even a trial, which would take longer than it could save.
    monkeypatch.delattr(importlib.import_module("holdfast.evaluation.precision"), "trial")
    assert run(model, images, "auto").precision == "float32"


def test_an_evaluation_goes_on_as_it_began(model: nn.Module, images: ImageSet, tmp_path: Path) -> None:
    first = run(model, images, "bfloat16", tmp_path)
    assert json.loads((tmp_path / "passes.json").read_text())["precision"] == "bfloat16"
    assert run(model, images, "auto", tmp_path).precision == first.precision
    assert Evaluation.load(tmp_path).precision == first.precision
    with pytest.raises(CheckpointError, match="passes was 'bfloat16"):
        run(model, images, "float32", tmp_path)


def test_doubted_models_answer_themselves(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(importlib.import_module("holdfast.evaluation.precision"), "trial")
    batch = images.images[:8], images.labels[:8]
    group = processes(torch.device("cpu"))
    assert settle(tmp_path, "auto", model, ATTACKS, 10**6, batch, True, group) == PLAIN


def test_unknown_precisions_are_refused(model: nn.Module, images: ImageSet) -> None:
    with pytest.raises(InvalidInput, match="float16"):
        run(model, images, "float16")
