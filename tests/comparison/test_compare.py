"""Comparisons: equal terms, growth and refusals."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from holdfast.comparison import Budget, Contender, compare, plan
from holdfast.comparison.contender import advice
from holdfast.comparison.locks import held
from holdfast.comparison.plan import Plan, Terms
from holdfast.data import ImageSet
from holdfast.data.digits import Digits
from holdfast.errors import InvalidInput
from holdfast.evaluation import Protocol
from holdfast.methods import ADR, AWP, CURE, FGSMRSAT, LLR, PGDAT, TRADES, YOPO, Loss, Method, Natural
from holdfast.models import MLP
from holdfast.recipe import SGD, Recipe
from holdfast.results import Comparison
from holdfast.training import load_recipe

TWO = {"natural": Natural(), "fgsm_rs": FGSMRSAT()}


@pytest.fixture
def ask(tmp_path: Path, base: Recipe, brief: Protocol) -> Any:
    """`compare` with everything that a test does not care about."""

    def call(contenders: Any = TWO, out: str = "cmp", **changes: Any) -> Comparison:
        options = {"base": base, "budget": "passes:2", "seeds": (0,), "attacks": brief, "n": 40} | changes
        return compare(contenders, out=tmp_path / out, device="cpu", progress=False, **options)

    return call


def test_runs_are_ordinary_and_differ_in_the_method_alone(ask: Any, tmp_path: Path, base: Recipe) -> None:
    found = ask(seeds=(0, 3))
    for label, epochs in (("natural", 2.0), ("fgsm_rs", 1.0)):
        for seed in (0, 3):
            recipe = load_recipe(tmp_path / "cmp/runs" / f"{label}-s{seed}")
            assert recipe == replace(base, method=TWO[label], epochs=epochs, seed=seed, sources=recipe.sources)
            assert recipe.sources["epochs"] == "what a budget of 2 passes buys"
            assert recipe.sources["optimizer"] == "of the base"
    entrant = found.entrants[1]
    assert entrant.robust is not None
    assert entrant.robust.values == tuple(e.verdicts.robust_accuracy for e in entrant.evaluations)
    assert [cell.outcome for cell in entrant.cells] == ["finished", "finished"]
    assert 0 < entrant.seconds("cpu_seconds") < 10
    assert ("data", "Digits") in found.shared
    assert not any(field.startswith(("method", "epochs", "seed")) for field, _ in found.shared)


def test_it_grows_by_methods_and_seeds_and_trains_nothing_twice(ask: Any, tmp_path: Path) -> None:
    ask({"natural": Natural()})
    weights = tmp_path / "cmp/runs/natural-s0/best/model.safetensors"
    before = weights.stat().st_mtime_ns
    found = ask({"trades": TRADES()}, seeds=(1,))
    assert [(e.label, len(e.evaluations)) for e in found.entrants] == [("natural", 2), ("trades", 2)]
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"budget": "passes:3"}, r"budget.amount: 2 -> 3"),
        ({"n": 41}, r"n: 40 -> 41"),
        ({"trials": 2}, r"trials: 0 -> 2"),
        ({"attacks": "pgd"}, r"attacks.protocol: brief@1 -> pgd@1"),
        ({"search_precision": "bfloat16"}, r"attacks.precision: auto -> bfloat16"),
        ({"search_precision": "half"}, r"precision 'half'"),
        ({"contenders": {"natural": FGSMRSAT()}}, r"natural stands for another method here"),
        ({"contenders": [Contender("natural", Natural(), share=2.0)]}, r"share: 1.0 -> 2.0"),
    ],
)
def test_other_terms_are_refused(ask: Any, tmp_path: Path, change: dict[str, Any], text: str) -> None:
    ask({"natural": Natural()})
    before = (tmp_path / "cmp/comparison.json").read_text()
    with pytest.raises(InvalidInput, match=text):
        ask(**change)
    assert (tmp_path / "cmp/comparison.json").read_text() == before


def test_another_recipe_is_refused(ask: Any, base: Recipe) -> None:
    ask({"natural": Natural()})
    with pytest.raises(InvalidInput, match=r"recipe.optimizer: Adam -> SGD"):
        ask(base=replace(base, optimizer=SGD()))
    # Its method, its length and its seed play no part.
    ask(base=replace(base, method=TRADES(), epochs=9, seed=9))


def test_a_control_may_spend_more_and_change_the_recipe(ask: Any, tmp_path: Path) -> None:
    ask([Contender("natural", Natural()), Contender("twice", Natural(), 2.0, ("precision=bfloat16",))])
    recipes = [load_recipe(tmp_path / "cmp/runs" / f"{name}-s0") for name in ("natural", "twice")]
    assert [(r.epochs, r.precision) for r in recipes] == [(2.0, "float32"), (4.0, "bfloat16")]


def test_time_is_turned_into_epochs_once(ask: Any, tmp_path: Path) -> None:
    found = ask({"pgd": PGDAT()}, budget="0.2s")
    (entrant,) = found.entrants
    assert entrant.ratio is not None
    assert entrant.ratio > 3.0
    assert found.natural_seconds is not None
    assert found.natural_seconds > 0.0
    assert 0.02 < entrant.seconds("cpu_seconds") < 2.0
    written = json.loads((tmp_path / "cmp/comparison.json").read_text())
    again = ask({"pgd": PGDAT(), "natural": Natural()}, budget="0.2s")
    assert again.natural_seconds == written["natural_seconds"]
    assert again.entrants[0].epochs == entrant.epochs
    assert again.entrants[1].epochs > 2 * entrant.epochs


def test_a_training_that_diverges_is_an_outcome(ask: Any, base: Recipe) -> None:
    found = ask(base=replace(base, optimizer=SGD(lr=1e30)))
    assert [cell.outcome for e in found.entrants for cell in e.cells] == ["diverged", "diverged"]
    assert found.measured == ()
    assert ask(base=replace(base, optimizer=SGD(lr=1e30))).entrants[0].cells[0].outcome == "diverged"


def test_more_examples_than_there_are_is_refused_at_once(ask: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"n is 5000, but .* has \d+ examples"):
        ask(n=5000)
    assert not (tmp_path / "cmp/comparison.json").exists()


@dataclass(frozen=True)
class NormFirst(MLP):
    """A network that YOPO refuses."""

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(1), super()._network(shape, classes))


class Broken(PGDAT):
    """Fails with what is no error of Holdfast's."""

    def loss(self, *_: Any) -> Loss:
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (Contender("bad", ADR(layer="fltten")), r"bad cannot take part: .*fltten.*; nothing was begun"),
        (Contender("bad", ADR(), changes=("model.hiden=3",)), r"bad cannot take part: unknown field.*hiden"),
        (Contender("bad", YOPO()), r"bad cannot take part: .*a BatchNorm comes before it"),
        (Contender("bad", Broken()), "shapes do not fit"),
    ],
)
def test_who_cannot_be_trained_is_told_before_anything_is(
    ask: Any, tmp_path: Path, base: Recipe, bad: Contender, text: str
) -> None:
    with pytest.raises((InvalidInput, RuntimeError), match=text) as found:
        ask([Contender("natural", Natural()), bad], base=replace(base, model=NormFirst()))
    if isinstance(bad.method, Broken):
        assert found.value.__notes__ == ["bad failed in a step that was tried before the comparison; nothing was begun"]
    assert [path.name for path in (tmp_path / "cmp").iterdir()] == [".lock"]


def test_who_cannot_join_leaves_the_folder_as_it_was(ask: Any, tmp_path: Path) -> None:
    ask({"natural": Natural()})
    before = (tmp_path / "cmp/comparison.json").read_bytes()
    with pytest.raises(InvalidInput, match="bad cannot take part"):
        ask({"pgd": PGDAT(), "bad": ADR(layer="fltten")})
    assert (tmp_path / "cmp/comparison.json").read_bytes() == before
    assert [path.name for path in (tmp_path / "cmp/runs").iterdir()] == ["natural-s0"]
    assert len(ask({"fgsm_rs": FGSMRSAT()}).measured) == 2, "the others go on"


@pytest.mark.parametrize(
    ("method", "changes", "told"),
    [
        (LLR(), (), True),
        (AWP(method=LLR()), (), True),
        (LLR(), ("model.activation=softplus",), False),
        (TRADES(), (), False),
        (CURE(), (), False),
    ],
)
def test_who_wants_a_smooth_network_is_told(
    base: Recipe, brief: Protocol, method: Method, changes: tuple[str, ...], told: bool
) -> None:
    terms = Terms(base, Budget(2.0, "passes"), brief, None, 0, 1.0, "cpu")
    said: list[str] = []
    grown = Plan(terms).grown([Contender("it", method, changes=changes)], (0,), "cpu", said.append)
    assert list(grown.entries) == ["it"]
    assert len(said) == told
    for line in said:
        assert line.startswith("it learns from how the input gradient bends, and under ReLU it hardly does; ")
        assert "METHOD,model.activation=softplus" in line


def test_a_network_of_unknown_make_is_told_of_without_a_name_for_the_remedy(base: Recipe) -> None:
    class Own:
        """Not one whose activation can be chosen."""

    recipe = replace(base, model=Own())
    line = advice(Contender("llr", LLR()), recipe, nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU()))
    assert line is not None
    assert line.endswith("under LeakyReLU it hardly does; give it a network with a smooth activation, such as softplus")


def test_images_are_read_once_for_all_who_are_tried(base: Recipe, brief: Protocol) -> None:
    read = []

    class Counted(Digits):
        def load(self, split: str) -> ImageSet:
            read.append(split)
            return super().load(split)

    terms = Terms(replace(base, data=Counted()), Budget(2.0, "passes"), brief, None, 0, 1.0, "cpu")
    grown = Plan(terms).grown([Contender(label, method) for label, method in TWO.items()], (0,), "cpu")
    assert read == ["train"]
    assert isinstance(grown.recipe(Contender("it", Natural())).data, Counted)


@pytest.mark.parametrize("label", ["Natural", "natural "])
def test_labels_that_would_share_a_folder_are_refused(ask: Any, label: str) -> None:
    with pytest.raises(InvalidInput, match="are the same folder"):
        ask({"natural": Natural(), label: FGSMRSAT()})


def test_one_run_is_worked_on_once_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "run") as mine, held(tmp_path / "run") as yours:
        assert (mine, yours) == (True, False)
    with held(tmp_path / "run") as again:
        assert again


def test_torchrun_is_refused(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInput, match="torchrun has no place"):
        ask()


@pytest.mark.parametrize(("method", "compiled"), [(PGDAT(), True), (CURE(), False), (YOPO(), False)])
def test_passes_that_cannot_be_compiled_are_not(base: Recipe, brief: Protocol, method: Method, compiled: bool) -> None:
    terms = Terms(replace(base, compile=True), Budget(2.0, "passes"), brief, None, 0, 1.0, "cpu")
    assert Plan(terms).recipe(Contender("it", method)).compile is compiled


def test_passes_are_chosen_once_for_all(
    ask: Any, tmp_path: Path, base: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that found something else for each run would compare precisions."""
    calls = []

    def settled(recipe: Recipe, *_: Any) -> Recipe:
        calls.append(recipe)
        return replace(recipe, precision="bfloat16", compile=False)

    monkeypatch.setattr(plan, "settled", settled)
    auto = replace(base, precision="auto", compile="auto")
    ask(base=auto)
    ask({"cure": CURE()}, base=auto)
    assert len(calls) == 1
    for label in ("natural", "fgsm_rs", "cure"):
        recipe = load_recipe(tmp_path / "cmp/runs" / f"{label}-s0")
        assert (recipe.precision, recipe.channels_last, recipe.compile) == ("bfloat16", False, False)
