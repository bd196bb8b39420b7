"""Recipes to JSON and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast import userfile
from holdfast.attacks import PGD
from holdfast.data.digits import Digits
from holdfast.data.tensors import Tensors
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.methods import ATLAS, TRADES, Batch, GradientPenalty, Natural
from holdfast.models import UserModel, WongCNN
from holdfast.recipe import EMA, SGD, Adam, OneCycle, Recipe, Step
from holdfast.recipe.codec import decode, differences, encode, user_files
from holdfast.threat import Linf

RECIPE = Recipe(
    method=ATLAS(),
    threat=Linf(eps="8/255"),
    data=Digits(),
    model=WongCNN(mean=(0.1,), std=(1 / 3,)),
    optimizer=SGD(lr=0.1),
    schedule=Step((0.5, 0.75)),
    epochs=3,
    batch_size=64,
    ema=EMA(),
    holdout=0.1,
    sources={"method.inner": "a paper"},
)

USER_FILE = """
from dataclasses import dataclass
from holdfast.methods import TRADES

@dataclass(frozen=True)
class Mine(TRADES):
    weight: float = 2.5

def net(shape, classes):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


@dataclass(frozen=True)
class Local:
    """A class of a module that Holdfast does not import by itself."""

    number: object = 1
    items: Mapping[str, object] | None = None


def through_json(value: object) -> object:
    return decode(json.loads(json.dumps(encode(value))))


@pytest.mark.parametrize(
    "value",
    [
        RECIPE,
        replace(RECIPE, method=TRADES(beta=3), optimizer=Adam(betas=(0.9, 0.95)), ema=None, holdout=100),
        replace(RECIPE, method=ATLAS(local_component=None, global_component=None), schedule=OneCycle(0.5)),
        replace(RECIPE, method=ATLAS(local_component=GradientPenalty(), together=False)),
        Local(items={"a": (1, (2.5, None), "x"), "b": True}),
        Path("some/where"),
    ],
)
def test_values_come_back_equal(value: object) -> None:
    assert through_json(value) == value


@given(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.text() | st.none())
def test_scalars_survive_exactly_with_their_type(number: object) -> None:
    back = through_json(Local(number))
    assert isinstance(back, Local)
    assert repr(back.number) == repr(number)


def test_numbers_that_json_has_no_word_for_survive() -> None:
    text = json.dumps(encode((math.nan, math.inf, -math.inf)), allow_nan=False)
    assert repr(decode(json.loads(text))) == "(nan, inf, -inf)"
    assert encode(np.float64(0.1)) == 0.1


def test_the_record_names_the_class_and_its_fields() -> None:
    assert encode(TRADES(beta=3.0))["type"] == "holdfast.methods.trades.TRADES"
    assert encode(TRADES(beta=3.0))["beta"] == 3.0
    assert encode(PGD())["initial"]["type"] == "holdfast.attacks.initial.Uniform"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Local(len), r"number is a builtin_function_or_method.*frozen dataclasses"),
        (Local((1, [2])), r"number\.1 is a list"),
        (Local(items={"type": 1}), r"items has the key 'type'"),
        (Local(items={3: 1}), r"items has the key 3"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_data_is_refused_by_its_place(value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        encode(value)


def test_arrays_are_recorded_by_a_fingerprint() -> None:
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 1])
    data = encode(Tensors((x, y), (x, y)))
    assert data == encode(Tensors((x.clone(), y), (x, y)))
    assert data["train"][0] != encode(Tensors((x * 0.5, y), (x, y)))["train"][0]
    with pytest.raises(CheckpointError, match=r"array of shape \(4, 1, 8, 8\) at data\.train\.0 .*from Python"):
        decode({"data": {"train": data["train"]}})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "holdfast.methods.trades.TRADE"}, "unknown type 'holdfast.methods.trades.TRADE'"),
        ({"type": "holdfast.nowhere.X"}, "unknown type 'holdfast.nowhere.X'"),
        ({"type": "antigravity.X"}, "neither a module of Holdfast nor imported"),
        ({"type": "X"}, "neither a module of Holdfast nor imported"),
        ({"type": "absent.py:Mine"}, "unknown type 'absent.py:Mine'.*there is no file"),
        ({"type": "pathlib.PurePath"}, "is no dataclass"),
        ({"type": "holdfast.threat.parse_eps"}, "is no dataclass"),
        ({"type": "holdfast.methods.trades.TRADES", "betta": 1.0}, "unknown field 'betta' of .*TRADES.*known: .*beta"),
        ({"type": "holdfast.threat.Linf"}, "holdfast.threat.Linf in a recorded recipe is refused: .*eps"),
        ({"a": [{"type": "holdfast.threat.Linf", "eps": 8.0}]}, r"Linf at a\.0 in a recorded recipe is refused"),
    ],
)
def test_foreign_records_are_refused_by_name(data: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        decode(data)


def test_a_users_file_travels_as_a_copy(tmp_path: Path) -> None:
    original, copies = tmp_path / "home" / "mine.py", tmp_path / "run"
    for folder in (original.parent, copies):
        folder.mkdir()
        (folder / "mine.py").write_text(USER_FILE)
    method = userfile.load(str(original), "Mine")(beta=2.0)
    recipe = replace(RECIPE, method=method, model=UserModel(str(original), "net"))
    assert user_files(recipe) == (original,)
    assert user_files(RECIPE) == ()

    data = encode(recipe)
    assert data["method"]["type"] == "mine.py:Mine"
    assert str(tmp_path) not in json.dumps(data)
    original.unlink()
    back = decode(data, search=copies)
    assert (back.method.beta, back.method.weight) == (2.0, 2.5)
    assert back.model == UserModel(str(copies / "mine.py"), "net")
    assert user_files(back) == (copies / "mine.py",)
    assert differences(back, recipe) == []
    with pytest.raises(CheckpointError, match=r"mine\.py"):
        decode(data)


def test_two_files_of_one_name_are_refused_unless_they_are_the_same(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(USER_FILE)
    models = tuple(UserModel(str(tmp_path / folder / "net.py"), "net") for folder in ("a", "b"))
    assert [file.name for file in user_files(models)] == ["net.py"]
    (tmp_path / "b" / "net.py").write_text(USER_FILE + "changed = True")
    with pytest.raises(InvalidInput, match="have the same name"):
        user_files(models)


def test_differences_name_the_field_and_both_values() -> None:
    other = replace(
        RECIPE,
        method=replace(RECIPE.method, local_component=None),
        threat=Linf(0.3),
        epochs=5,
        holdout=None,
        sources={},
    )
    assert differences(RECIPE, other) == [
        "method.local_component: WorstPoint -> none",
        "threat.eps: 8/255 -> 0.3",
        "epochs: 3 -> 5",
        "holdout: 0.1 -> none",
    ]
    assert differences(RECIPE, encode(RECIPE)) == []
    assert differences(replace(RECIPE, method=Natural()), RECIPE) == ["method: Natural -> ATLAS"]
    assert differences(Step((0.1, 0.2)), Step((0.1, 0.3))) == ["milestones.1: 0.2 -> 0.3"]
    assert differences(Step((0.1,)), Step((0.1, 0.3))) == ["milestones: (0.1) -> (0.1, 0.3)"]
    assert differences(Local(1), Local(True)) == ["number: 1 -> true"]


def test_a_dataclass_whose_fields_are_tensors_compares_by_content() -> None:
    first, second = (Batch(torch.zeros(2), torch.zeros(2), torch.tensor([0, i])) for i in (1, 2))
    assert differences(first, first) == []
    (line,) = differences(first, second)
    assert line.startswith("index.sha256: ")
