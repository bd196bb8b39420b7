"""Searches by cheaper passes: the model itself has the last word on every verdict."""

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, PGD, Attack
from holdfast.data import ImageSet
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.evaluation import Protocol, evaluate
from holdfast.evaluation.cascade import Cascade
from holdfast.evaluation.examples import Counted, Examples, Subject, look
from holdfast.evaluation.keepsakes import Costs, GalleryStore
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.evaluation.precision import settle
from holdfast.processes import processes
from holdfast.results import Evaluation, VerdictLog
from holdfast.speed import Passes, StandIn, Trial
from holdfast.threat import Linf

EVALUATE = importlib.import_module("holdfast.evaluation.evaluate")
CASCADE = importlib.import_module("holdfast.evaluation.cascade")
EPS = 0.05
THREAT = Linf(EPS)
ATTACKS = (PGD(steps=12, step_size=0.2, early_stop=True), APGD(steps=20))


def decisions(attack: Attack, model: nn.Module, asked: nn.Module | None, images: ImageSet) -> dict[int, Decision]:
    """How a search ends on each example that `model` gets right; it asks `asked`, which is taken for coarse."""
    counted, examples = Counted(model), Examples(images, torch.device("cpu"))
    clean = look(counted, examples, range(len(images)), 64, 0)
    right = (clean.prediction == images.labels).nonzero().flatten().tolist()
    told: list[Decision] = []

    def note(fallen: Sequence[Decision]) -> None:
        told.extend(fallen)

    subject = Subject(counted, examples, clean.ranking, 0, 8)
    coarse = {} if asked is None else {"asked": Counted(asked), "coarse": True}
    PackedSearch(attack, THREAT, subject, note, **coarse).run(right)
    assert sorted(decision.example for decision in told) == right, "every example is decided once"
    return {decision.example: decision for decision in told}


def standing(found: dict[int, Decision]) -> set[int]:
    """Examples that were not broken."""
    return {example for example, decision in found.items() if decision.prediction < 0}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_what_coarse_passes_miss_is_judged_on_the_model(model: nn.Module, images: ImageSet, attack: Attack) -> None:
    """Passes that never see a wrong prediction still climb, and their strongest candidates break what can be broken."""

    class Sure(nn.Module):
        """Always prefers the label, which it finds by the nearest clean input."""

        def forward(self, x: Tensor) -> Tensor:
            y = images.labels[torch.cdist(x.detach(), images.images).argmin(dim=1)]
            return model(x) + 3.0 * nn.functional.one_hot(y, model.out_features)

    own = decisions(attack, model, None, images)
    assert 0 < len(standing(own)) < len(own), "the fixture must have both outcomes"
    found = decisions(attack, model, Sure(), images)
    assert standing(found) == standing(own)
    assert all(math.isfinite(found[example].margin) and found[example].margin >= 0.0 for example in standing(found))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_claim_that_the_model_denies_ends_its_search_at_the_edge(
    model: nn.Module, images: ImageSet, attack: Attack
) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -model(x)

    found = decisions(attack, model, Wrong(), images)
    assert {found[example].margin for example in standing(found)} == {0.0}
    assert all(found[example].steps == 1 for example in standing(found))


class Opposed(StandIn):
    """A copy that calls everything wrong, so that the model denies its claims."""

    def __call__(self, x: Tensor) -> Tensor:
        return -super().__call__(x)


class Indifferent(StandIn):
    """A copy without a slope, with the model's predictions."""

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x.detach()) + 0.0 * x.sum(dim=1, keepdim=True)


def test_doubtful_survivors_are_attacked_on_the_model(
    model: nn.Module, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = run(model, images, "float32").verdicts
    monkeypatch.setattr(EVALUATE, "StandIn", Opposed)
    found = run(model, images, "bfloat16").verdicts
    assert own.robust.tolist() == found.robust.tolist()
    assert own.steps.tolist() == found.steps.tolist(), "those are the verdicts of the whole search"


def test_an_attack_on_the_model_keeps_the_margin_that_raised_the_doubt(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that later attacks know how near the edge the example stands."""
    monkeypatch.setattr(EVALUATE, "StandIn", Opposed)
    run(model, images, "bfloat16", tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()[1:]]
    survived = [line for line in lines if "attack" in line and "adversarial_prediction" not in line]
    assert survived
    assert all(line["margin"] == 0.0 for line in survived)


def test_survivors_far_from_the_edge_are_not_attacked_twice(
    model: nn.Module, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EVALUATE, "StandIn", Indifferent)
    monkeypatch.setattr(CASCADE, "DOUBT", 0.0)
    missed = run(model, images, "bfloat16")
    monkeypatch.setattr(CASCADE, "DOUBT", math.inf)
    found = run(model, images, "bfloat16")
    assert found.verdicts.robust.tolist() == run(model, images, "float32").verdicts.robust.tolist()
    assert missed.verdicts.robust_accuracy > found.verdicts.robust_accuracy
    assert sum(p.forward for p in missed.passes.values()) < sum(p.forward for p in found.passes.values())


def test_an_earlier_attack_s_margin_is_reason_for_doubt(model: nn.Module, images: ImageSet, tmp_path: Path) -> None:
    """Also after a restart, which knows it from the log."""
    run(model, images, "bfloat16", tmp_path)
    least: dict[int, float] = {}
    for line in map(json.loads, (tmp_path / "verdicts.jsonl").read_text().splitlines()[1:]):
        if "margin" in line:
            least[line["example"]] = min(line["margin"], least.get(line["example"], math.inf))
    assert least
    header = json.loads((tmp_path / "verdicts.jsonl").read_text().splitlines()[0])
    with VerdictLog(tmp_path / "verdicts.jsonl", header["identity"], header["attacks"]) as log:
        assert {e: m for e, m in log.margins.items() if math.isfinite(m)} == least
        counted, examples = Counted(model), Examples(images, torch.device("cpu"))
        clean = look(counted, examples, range(len(images)), 64, 0)
        subject = Subject(counted, examples, clean.ranking, 0, 8)
        shown, costs = GalleryStore(tmp_path, ()), Costs(tmp_path / "costs.json")
        cascade = Cascade(subject, THREAT, clean, None, log, costs, shown, False)
        stands = max(least, key=lambda example: clean.margin[example])
        survivor = Decision(stands, -1, math.nan, 1, examples.rows([stands])[0])
        log.margins[stands] = 0.11 * float(clean.margin[stands])
        assert not cascade._in_doubt(survivor)
        log.margins[stands] = 0.09 * float(clean.margin[stands])
        assert cascade._in_doubt(survivor)
        assert not cascade._in_doubt(survivor._replace(prediction=1))
        clean.margin[stands] = 0.0  # right by a tie of logits
        assert cascade._in_doubt(survivor._replace(margin=0.5))


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

    monkeypatch.setattr(EVALUATE, "StandIn", Watched)
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
    assert settle(tmp_path, "auto", model, ATTACKS, 10**6, batch, True, group) is None


def test_unknown_precisions_are_refused(model: nn.Module, images: ImageSet) -> None:
    with pytest.raises(InvalidInput, match="float16"):
        run(model, images, "float16")


def test_a_model_that_cannot_be_copied_answers_itself(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, memo: object) -> None:
        raise TypeError("no copies")

    monkeypatch.setattr(type(model), "__deepcopy__", refuse, raising=False)
    batch = images.images[:8], images.labels[:8]
    group = processes(torch.device("cpu"))
    assert settle(tmp_path, "auto", model, ATTACKS, 10**6, batch, False, group) is None
    with pytest.raises(InvalidInput, match=r"no copies.*float32"):
        run(model, images, "bfloat16")


def test_a_trial_that_does_not_fit_is_made_of_fewer_rows(
    model: nn.Module, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def trial(model: nn.Module, x: Tensor, *rest: object, **options: object) -> Trial:
        tried.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("too many rows")
        return Trial(Passes("bfloat16"))

    monkeypatch.setattr(importlib.import_module("holdfast.evaluation.precision"), "trial", trial)
    batch = images.images[:16], images.labels[:16]
    group = processes(torch.device("cpu"))
    assert settle(tmp_path, "bfloat16", model, ATTACKS, 10**6, batch, False, group) == Passes("bfloat16")
    assert tried == [16, 8, 4]


def test_grey_images_are_searched_with_the_quick_gradient(tmp_path: Path) -> None:
    """In float32, where the evaluation is long enough."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)).requires_grad_(False)
    batch = torch.rand(8, 1, 8, 8), torch.arange(8) % 3
    group = processes(torch.device("cpu"))
    chosen = settle(tmp_path, "float32", net, ATTACKS, 10**6, batch, False, group)
    assert chosen is not None
    assert chosen.precision == "float32"
    assert settle(tmp_path, "float32", net, ATTACKS, 1, batch, False, group) == chosen, "it goes on as it began"
