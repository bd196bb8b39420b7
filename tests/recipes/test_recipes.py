"""The published recipes: complete, cited, and as their sources have them."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest

from holdfast import recipes
from holdfast.attacks import NFGSM, PGD, Uniform
from holdfast.errors import InvalidInput
from holdfast.methods import AWP, METHODS, NFGSMAT, PGDAT, GradAlign
from holdfast.recipe import Recipe
from holdfast.recipe.codec import decode, encode
from holdfast.recipe.sources import leaves, source_of
from holdfast.recipes import citations

SMALL = [pair for pair in recipes.names() if pair[0] not in ("imagenet", "cifar10_speedrun")]


def all_recipes() -> Iterator[tuple[str, str, Recipe]]:
    for data, method in recipes.names():
        if data != "imagenet" or importlib.util.find_spec("timm"):
            yield data, method, recipes.recipe(data, method)


def test_every_method_has_a_recipe_for_every_small_data_set() -> None:
    published = {("cifar10", "trades+awp"), ("cifar100", "trades+awp")}
    assert set(SMALL) - published == {(d, m) for d in ("digits", "mnist", "cifar10", "cifar100") for m in METHODS}
    assert published <= set(SMALL)
    assert {m for d, m in recipes.names() if d == "imagenet"} == {"fgsm_rs", "n_fgsm", "pgd_at", "free"}


def test_every_choice_of_every_recipe_has_a_source() -> None:
    bare = [
        f"{data} {method}: {path} = {value}"
        for data, method, recipe in all_recipes()
        for path, value in leaves(recipe)
        if not source_of(recipe.sources, path)
    ]
    assert bare == []


def test_sources_name_fields_that_exist() -> None:
    for data, method, recipe in all_recipes():
        known = {path for path, _ in leaves(recipe)} | {"augment"}
        assert set(recipe.sources) <= known, (data, method)


# Who has trained by a method: the only ones who can have published numbers for it.
TRAINED_BY = {
    "natural": (citations.WONG, citations.RICE),
    "fgsm": (citations.GOODFELLOW, citations.GRAD_ALIGN),
    "fgsm_rs": (citations.WONG,),
    "n_fgsm": (citations.N_FGSM,),
    "pgd_at": (citations.MADRY, citations.RICE, citations.ENGSTROM),
    "free": (citations.FREE, citations.WONG),
    "yopo": (citations.YOPO,),
    "trades_yopo": (citations.YOPO,),
    "trades": (citations.TRADES, citations.AWP),
    "trades+awp": (citations.AWP,),
    "mart": (citations.MART,),
    "mma": (citations.MMA,),
    "llr": (citations.LLR,),
    "adr": (citations.ADR,),
    "adr_trades": (citations.ADR,),
    "sprout": (citations.SPROUT,),
    "atlas": (),
    "cure": (citations.CURE,),
    "jacobian": (citations.HOFFMAN,),
    "grad_align": (citations.GRAD_ALIGN,),
    "awp": (citations.AWP,),
}


def test_a_published_number_cites_somebody_who_trained_by_the_method() -> None:
    """A recipe that is made out of another's must not go on under the other's citation: it is ours then."""
    foreign = [
        f"{data} {method}: {path} is said to be of {cited}"
        for data, method, recipe in all_recipes()
        for path in ("method", "threat.eps", "optimizer", "schedule", "epochs", "batch_size")
        if not (cited := source_of(recipe.sources, path)).startswith(("ours", *TRAINED_BY[method]))
    ]
    assert foreign == []


def test_what_is_ours_says_so_and_what_is_published_cites() -> None:
    for data, method, recipe in all_recipes():
        cited = source_of(recipe.sources, "method")
        assert any(word in cited for word in ("ours", "arXiv", "OpenReview")), (data, method)
        if method == "atlas" or data == "digits":
            assert cited.startswith("ours")


@pytest.mark.parametrize(("data", "method"), SMALL)
def test_a_recipe_is_the_method_it_is_named_after_and_can_be_written_down(data: str, method: str) -> None:
    recipe = recipes.recipe(data, method)
    assert type(recipe.method) is METHODS[method.rpartition("+")[2]]
    assert recipe.data.name == data
    assert decode(encode(recipe)) == recipe


def in_levels(recipe: Recipe, levels: int) -> tuple[Fraction, Fraction]:
    """Eps and step size in units of 1/levels."""
    inner = getattr(recipe.method, "inner", None)
    assert isinstance(inner, PGD)
    size = recipe.threat.eps * levels
    return Fraction(size).limit_denominator(1000), Fraction(size * inner.step_size).limit_denominator(1000)


@pytest.mark.parametrize(
    ("data", "method", "levels", "eps", "step", "steps"),
    [
        ("mnist", "fgsm_rs", 1, "3/10", "3/8", 1),
        ("mnist", "pgd_at", 1, "3/10", "1/100", 40),
        ("mnist", "trades", 1, "3/10", "1/100", 40),
        ("cifar10", "fgsm_rs", 255, "8", "10", 1),
        ("cifar10", "n_fgsm", 255, "8", "8", 1),
        ("cifar10", "pgd_at", 255, "8", "2", 10),
        ("cifar10", "trades", 1, "31/1000", "7/1000", 10),
        ("cifar100", "trades", 255, "8", "2", 10),
        ("mnist", "adr", 1, "3/10", "1/100", 40),
        ("mnist", "adr_trades", 1, "3/10", "1/100", 40),
        ("cifar10", "llr", 255, "8", "51/2", 10),
        ("cifar10", "adr", 255, "8", "2", 10),
        ("cifar10", "adr_trades", 1, "31/1000", "7/1000", 10),
        ("mnist", "yopo", 1, "3/10", "1/100", 10),
        ("cifar10", "yopo", 255, "8", "2", 3),
        ("mnist", "trades_yopo", 1, "3/10", "1/100", 10),
        ("cifar10", "trades_yopo", 1, "31/1000", "7/1000", 4),
        ("cifar10", "mart", 1, "31/1000", "7/1000", 10),
    ],
)
def test_attacks_have_the_published_sizes(data: str, method: str, levels: int, eps: str, step: str, steps: int) -> None:
    recipe = recipes.recipe(data, method)
    assert in_levels(recipe, levels) == (Fraction(eps), Fraction(step))
    assert dict(leaves(recipe))["method.inner.steps"] == str(steps)


def test_learning_rates_drop_when_the_reference_codes_drop_them() -> None:
    trades = recipes.recipe("mnist", "trades")
    # train_trades_mnist.py: epochs count from 1, and the rate falls at the start of epochs 55, 75 and 90.
    factors = [trades.schedule.factor((epoch - 1) / trades.epochs) for epoch in (54, 55, 74, 75, 89, 90)]
    assert factors == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.001])
    cifar = recipes.recipe("cifar10", "trades")
    assert [cifar.schedule.factor((epoch - 1) / cifar.epochs) for epoch in (74, 75)] == pytest.approx([1, 0.1])


def test_unknown_pairs_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="unknown data set 'minst'; did you mean 'mnist'"):
        recipes.recipe("minst", "atlas")
    with pytest.raises(InvalidInput, match="unknown method 'atlass'; did you mean 'atlas'"):
        recipes.recipe("mnist", "atlass")
    with pytest.raises(
        InvalidInput, match=r"no recipe of trades for imagenet \(known: fgsm_rs, free, n_fgsm, pgd_at\).*--recipe"
    ):
        recipes.recipe("imagenet", "trades")


def test_imagenet_is_that_of_its_sources() -> None:
    pytest.importorskip("timm", reason="the network of the ImageNet recipes is timm's", exc_type=ImportError)
    recipe = recipes.recipe("imagenet", "pgd_at")
    assert isinstance(recipe.method, PGDAT)
    assert recipe.method.inner.step_size * recipe.threat.eps == pytest.approx(0.004)
    noisy = recipes.recipe("imagenet", "n_fgsm").method
    assert isinstance(noisy, NFGSMAT)
    assert noisy.inner == NFGSM(step_size=1.0, initial=Uniform(1.0))


def test_the_speed_run_is_one_step_atlas_on_cifar10_at_low_precision() -> None:
    """It shares data, network and adversary with the recipe whose length it cuts."""
    fast, published = recipes.recipe("cifar10_speedrun", "atlas"), recipes.recipe("cifar10", "atlas")
    for name in ("data", "model", "method", "threat", "augment", "eps_warmup"):
        assert getattr(fast, name) == getattr(published, name)
    assert (fast.precision, fast.channels_last, fast.method.passes) == ("bfloat16", True, 3 + 1 / 3)
    assert decode(encode(fast)) == fast


def test_a_wrapper_goes_around_any_recipe() -> None:
    inside, around = recipes.recipe("mnist", "trades"), recipes.recipe("mnist", "trades+grad_align+awp")
    assert around.method == AWP(method=GradAlign(method=inside.method))
    assert replace(around, method=inside.method, sources=inside.sources) == inside
    assert source_of(around.sources, "method.method.method.beta") == source_of(inside.sources, "method.beta")
    assert "ours" in source_of(around.sources, "method.gamma")
    assert all(source_of(around.sources, path) for path, _ in leaves(around))
    assert decode(encode(around)) == around
    assert recipes.recipe("cifar10", "trades+awp").method.gamma == 0.005  # published, so not the default
    with pytest.raises(InvalidInput, match="unknown wrapper 'trades'"):
        recipes.recipe("mnist", "awp+trades")
    with pytest.raises(InvalidInput, match="unknown method 'trade'; did you mean 'trades'"):
        recipes.recipe("mnist", "trade+awp")


def test_weights_of_the_reference_codes_are_in_the_unit_of_our_inputs() -> None:
    jacobian, cure = recipes.recipe("mnist", "jacobian"), recipes.recipe("cifar10", "cure")
    # Inputs that are divided by a deviation have gradients that are larger by it, and steps that are longer by it.
    assert jacobian.method.weight == pytest.approx(0.1 * jacobian.model.std[0] ** 2)
    assert (cure.method.weight, cure.method.h) == pytest.approx((4 * 0.2, 3 * 0.2))
