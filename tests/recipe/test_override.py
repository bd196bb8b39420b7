"""Fields of a recipe set by text."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.attacks import FGSMRS, PGD, CrossEntropy, Gaussian, Margin, Zero
from holdfast.data import Digits, HorizontalFlip, RandomCrop
from holdfast.errors import InvalidInput
from holdfast.methods import ATLAS, AWP, PGDAT, TRADES, GlobalComponent, GradAlign, GradientPenalty, WorstPoint
from holdfast.models import MLP, MadryCNN, PreActResNet18, UserModel, WideResNet, WongCNN
from holdfast.recipe import EMA, SGD, Adam, Constant, Cosine, OneCycle, Recipe, Step
from holdfast.recipe.codec import differences
from holdfast.recipe.override import override
from holdfast.recipe.sources import leaves, source_of
from holdfast.threat import L2, Linf

RECIPE = Recipe(
    method=ATLAS(),
    threat=Linf(0.3),
    data=Digits(),
    model=WongCNN(),
    optimizer=SGD(lr=0.2),
    schedule=OneCycle(0.4),
    epochs=3,
    batch_size=64,
    sources={"optimizer": "paper A", "optimizer.lr": "paper B", "method": "paper C", "method.inner.steps": "paper D"},
)


def field(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=7", 7),
        ("epochs=2.5", 2.5),
        ("optimizer.lr=0.1", 0.1),
        ("optimizer.lr=1e-2", 0.01),
        ("optimizer.lr=1", 1.0),
        ("threat.eps=8/255", 8 / 255),
        (" threat.eps = 8/255 ", 8 / 255),
        ("method.inner.step_size=2/3", 2 / 3),
        ("method.inner.steps=20", 20),
        ("method.together=false", False),
        ("channels_last=on", True),
        ("precision=bfloat16", "bfloat16"),
        ("compile=auto", "auto"),
        ("compile=false", False),
        ("method.global_component.distance=squared", "squared"),
        ("model.mean=none", ()),
        ("method.local_component=none", None),
        ("method.global_component=None", None),
        ("holdout=500", 500),
        ("holdout=0.2", 0.2),
        ("holdout=none", None),
        ("ema=ema", EMA()),
        ("augment=random_crop,horizontal-flip", (RandomCrop(), HorizontalFlip())),
        ("augment=(RandomCrop,)", (RandomCrop(),)),
        ("augment=none", ()),
        ("optimizer=adam", Adam()),
        ("schedule=Constant", Constant()),
        ("schedule=one-cycle", OneCycle()),
        ("schedule=onecycle", OneCycle()),
        ("method=trades", TRADES()),
        ("method=PGDAT", PGDAT()),
        ("method.inner=pgd", PGD()),
        ("method.inner=fgsm-rs", FGSMRS()),
        ("method.inner.initial=zero", Zero()),
        ("method.inner.criterion=margin", Margin()),
        ("method.local_component=worst_point", WorstPoint()),
        ("data=digits", Digits()),
        ("model=preact-resnet-18", PreActResNet18()),
        ("model=wrn-28-10", WideResNet(28, 10)),
    ],
)
def test_a_field_takes_a_value_of_its_type(text: str, expected: object) -> None:
    value = field(override(RECIPE, [text]), text.partition("=")[0].strip())
    assert value == expected
    assert type(value) is type(expected)


def test_changes_take_effect_together_in_any_order() -> None:
    texts = ["method.local_component.rho=0.05", "method.together=false", "method.local_component=gradient_penalty"]
    for order in (texts, texts[::-1]):
        assert override(RECIPE, order).method == ATLAS(local_component=GradientPenalty(rho=0.05), together=False)


def test_parts_are_chosen_and_filled_in_one_breath() -> None:
    changed = override(
        RECIPE,
        [
            *("threat=l2", "threat.eps=128/255", "model=mlp", "model.hidden=64, 32", "model.activation=silu"),
            *("optimizer=adam", "optimizer.betas=0.9,0.95", "schedule=cosine", "schedule.warmup=0.1"),
            *("method=trades", "method.beta=3", "method.inner.initial.deviation=0.01", "augment=randomcrop"),
        ],
    )
    assert changed.threat == L2(128 / 255)
    assert changed.model == MLP(hidden=(64, 32), activation="silu")
    assert changed.optimizer == Adam(betas=(0.9, 0.95))
    assert changed.schedule == Cosine(0.1)
    assert changed.method == TRADES(beta=3.0, inner=PGD(initial=Gaussian(0.01)))
    assert override(changed, ["augment.0.padding=2"]).augment == (RandomCrop(padding=2),)
    assert override(RECIPE, ["schedule=step", "schedule.milestones=0.5,0.6,0.7"]).schedule == Step((0.5, 0.6, 0.7))
    # A part that is only changed keeps its other fields.
    assert override(RECIPE, ["method.global_component.beta=6"]).method == ATLAS(global_component=GlobalComponent(6.0))
    assert override(RECIPE, ["optimizer.momentum=0"]).optimizer == SGD(lr=0.2, momentum=0.0)


def test_a_wrapped_method_is_reached_through_its_wrapper() -> None:
    texts = ["method=awp", "method.gamma=0.02", "method.method=trades", "method.method.beta=3"]
    assert override(RECIPE, texts).method == AWP(method=TRADES(beta=3.0), gamma=0.02)
    around = replace(RECIPE, method=AWP(method=GradAlign(method=RECIPE.method)))
    deep = override(around, ["method.method.method.local_component=none"])
    assert deep.method == AWP(method=GradAlign(method=ATLAS(local_component=None)))
    assert override(around, ["method.method=pgd_at"]).method == AWP(method=PGDAT())


def test_another_network_keeps_the_statistics_of_the_data(tmp_path: Path) -> None:
    normalised = replace(RECIPE, model=WongCNN(mean=(0.1,), std=(0.3,)))
    assert override(normalised, ["model=madry_cnn"]).model == MadryCNN(mean=(0.1,), std=(0.3,))
    assert override(normalised, ["model=mlp", "model.mean=none", "model.std=none"]).model == MLP()
    file = tmp_path / "own_net.py"
    file.write_text("def net(classes): ...")
    assert override(normalised, [f"model={file}:net"]).model == UserModel(str(file), "net")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method.betta=3", r"unknown field of method \(ATLAS\) 'betta'"),
        ("method.inner.stepz=3", r"unknown field of method\.inner \(FGSMRS\) 'stepz'; did you mean 'steps'"),
        ("epoch=3", r"unknown field of the recipe 'epoch'; did you mean 'epochs'"),
        ("sources=x", r"unknown field of the recipe 'sources'"),
        ("epochs=ten", r"epochs is 'ten', but it is a whole number or a number, e\.g\. epochs=3"),
        ("batch_size=2.5", r"batch_size is '2\.5', but it is a whole number"),
        ("optimizer.lr=fast", r"optimizer\.lr is 'fast', but it is a number, e\.g\. optimizer\.lr=0\.2"),
        ("optimizer.lr=1/0", r"optimizer\.lr is '1/0', but it is a number"),
        ("optimizer.lr=nan", r"optimizer\.lr is 'nan', but it is a number"),
        ("holdout=many", r"holdout is 'many', but it is a whole number or a number, e\.g\. holdout=10"),
        (
            "channels_last=maybe",
            r"channels_last is 'maybe', but it is auto or true or false, e\.g\. channels_last=true",
        ),
        ("precision=bfloat", r"unknown value of precision 'bfloat'; did you mean 'bfloat16'"),
        ("schedule=cosin", r"unknown value of schedule 'cosin'; did you mean 'cosine'"),
        ("method=trade", r"unknown value of method 'trade'; did you mean 'trades'"),
        (
            "method.local_component=worst",
            r"unknown value of .*local_component 'worst'; did you mean 'worst_point'",
        ),
        ("model=wong_cn", r"unknown model 'wong_cn'; did you mean 'wong_cnn'"),
        ("augment=crop", r"unknown value of augment 'crop'; did you mean 'random_crop'"),
        ("augment.0.padding=2", r"unknown item of augment '0'"),
        ("ema.decay=0.9", r"ema\.decay cannot be set, because ema is none; choose one first: --set ema=NAME"),
        ("epochs.x=1", r"epochs\.x cannot be set, because epochs is 3; set epochs itself"),
        ("threat=l2", r"threat=l2 needs eps; add --set threat\.eps=\.\.\."),
        ("optimizer.betas=0.9", r"unknown field of optimizer \(SGD\) 'betas'"),
        ("method.local_component.project=maybe", r"project"),
        ("optimizer.lr=-1", r"lr is -1\.0, but a learning rate is above 0"),
        ("threat.eps=8", r"write 8/255"),
        ("epochs", r"cannot read 'epochs'; write FIELD=VALUE"),
        ("=3", r"cannot read '=3'"),
    ],
)
def test_what_cannot_be_set_is_refused_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        override(RECIPE, [text])


def test_a_tuple_of_fixed_length_wants_that_many() -> None:
    with pytest.raises(
        InvalidInput, match=r"optimizer\.betas is '0\.9', 1 values, but it has 2, e\.g\. .*=0\.9,0\.999"
    ):
        override(replace(RECIPE, optimizer=Adam()), ["optimizer.betas=0.9"])


def test_sources_tell_what_was_set_by_hand() -> None:
    changed = override(RECIPE, ["optimizer.lr=0.1", "method.inner=pgd", "epochs=3", "batch_size=32"])
    assert changed.sources == {
        "optimizer": "paper A",
        "optimizer.lr": "set by hand; 0.2 in the recipe (paper B)",
        "method": "paper C",
        "method.inner": "set by hand; FGSMRS in the recipe (paper C)",
        "batch_size": "set by hand; 64 in the recipe",
    }
    assert override(RECIPE, []) == RECIPE
    assert differences(RECIPE, changed)[-1] == "batch_size: 64 -> 32"


def test_the_source_of_a_field_is_the_nearest_above_it() -> None:
    assert source_of(RECIPE.sources, "method.inner.steps") == "paper D"
    assert source_of(RECIPE.sources, "method.inner.step_size") == "paper C"
    assert source_of(RECIPE.sources, "epochs") == ""


def test_leaves_are_the_choices_of_a_recipe() -> None:
    recipe = replace(RECIPE, threat=Linf(8 / 255), augment=(RandomCrop(),), model=WongCNN(mean=(0.5,), std=(1 / 3,)))
    found = dict(leaves(recipe))
    assert found["method"] == "ATLAS"
    assert found["method.local_component.rho"] == "2/3"
    assert found["method.inner.criterion"] == CrossEntropy.__name__
    assert found["threat.eps"] == "8/255"
    assert found["augment.0.padding"] == "4"
    assert found["model.std"] == "(1/3)"
    assert found["holdout"] == "none"
    assert found["channels_last"] == "auto"
    assert not any(path.startswith("sources") or path.endswith("type") for path in found)
