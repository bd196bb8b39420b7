"""User models from a file, and timm through its extra."""

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from holdfast.errors import InvalidInput, MissingExtra
from holdfast.models import Timm, UserModel, architecture

MODELS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes: int, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.BatchNorm1d(width), nn.Linear(width, classes))
    def forward(self, x):
        return self.body(x)

def by_shape(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), classes))

def fixed():
    return nn.Linear(3, 1000)

def pair(classes):
    class Two(nn.Module):
        def forward(self, x):
            return x, x
    return Two()

def any_keyword(**given):
    return by_shape(**given)

def wants_more(classes, temperature):
    return None

def elsewhere(shape, classes):
    class Placed(nn.Flatten):
        place = "cuda"
        def cpu(self):
            self.place = "cpu"
            return self
        def forward(self, x):
            if self.place != "cpu":
                raise RuntimeError("Expected all tensors to be on the same device")
            return super().forward(x)[:, :classes]
    return Placed()

def not_a_module():
    return "net"

number = 3
"""


@pytest.fixture
def models_file(tmp_path: Path) -> str:
    path = tmp_path / "my_models.py"
    path.write_text(MODELS)
    return str(path)


def test_user_model_builds_from_a_class_or_a_function(models_file: str) -> None:
    before = torch.get_rng_state()
    for name in ("Net", "by_shape", "any_keyword"):
        value = architecture(f"{models_file}:{name}")
        assert value == UserModel(models_file, name)
        model, again = value.build((3, 2, 2), 5, seed=3), value.build((3, 2, 2), 5, seed=3)
        assert torch.equal(torch.get_rng_state(), before), "the global generator moved"
        assert model.training
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
        assert model(torch.ones(2, 3, 2, 2)).shape == (2, 5)


def test_a_network_that_was_put_elsewhere_is_brought_back(models_file: str) -> None:
    assert UserModel(models_file, "elsewhere").build((3, 4, 4), 5, 0)(torch.zeros(2, 3, 4, 4)).shape == (2, 5)


def test_checking_a_user_model_leaves_its_statistics_alone(models_file: str) -> None:
    state = UserModel(models_file, "Net").build((3,), 5, seed=0).state_dict()
    assert not state["body.2.running_mean"].any()
    assert state["body.2.num_batches_tracked"] == 0


def test_user_model_with_statistics_is_wrapped(models_file: str) -> None:
    model = UserModel(models_file, "Net", mean=(0.5,), std=(0.5,)).build((1, 2, 2), 5, seed=0)
    assert [name for name, _ in model.named_children()] == ["normalize", "network"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Nett", ["Nett", "did you mean 'Net'"]),
        ("number", ["number", "int", "nn.Module"]),
        ("wants_more", ["'temperature'", "shape and classes", "default"]),
    ],
)
def test_names_that_make_no_model_are_refused_at_construction(models_file: str, name: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        UserModel(models_file, name)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fixed", ["(2, 1000)", "(2, 5)"]),
        ("pair", ["tuple", "[B, 5]"]),
        ("not_a_module", ["str", "nn.Module"]),
    ],
)
def test_networks_that_return_no_logits_are_refused(models_file: str, name: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        UserModel(models_file, name).build((3,), 5, seed=0)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_network_for_another_shape_is_refused(models_file: str) -> None:
    with pytest.raises(InvalidInput, match=r"fixed does not take examples of shape \(7,\)"):
        UserModel(models_file, "fixed").build((7,), 5, seed=0)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no file 'nowhere/net.py'"):
        architecture("nowhere/net.py:Net")


class FakeTimm(types.ModuleType):
    """As much of timm as the adapter touches."""

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["resnet18", "resnet50", "vit_tiny"]

    def create_model(self, name: str, pretrained: bool, num_classes: int, in_chans: int) -> nn.Module:
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_chans, num_classes))
        network.pretrained_cfg = {"mean": (0.5,) * in_chans, "std": (0.25,) * in_chans}
        return network


def test_timm_makes_a_network_for_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm("timm"))
    value = architecture("timm:resnet18")
    assert value == Timm("resnet18", pretrained=False)
    assert value.label == "timm:resnet18"
    model = value.build((1, 8, 8), 3, seed=0)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    assert "normalize" not in dict(model.named_children())


def test_pretrained_weights_bring_their_statistics_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm("timm"))
    own = Timm("resnet18", pretrained=True).build((3, 8, 8), 3, seed=0)
    assert own.get_submodule("normalize").mean.tolist() == [0.5] * 3
    given = Timm("resnet18", pretrained=True, mean=(0.1,) * 3, std=(1.0,) * 3).build((3, 8, 8), 3, seed=0)
    assert [name for name, _ in given.named_children()].count("normalize") == 1
    assert torch.allclose(given.get_submodule("normalize").mean, torch.tensor([0.1] * 3))


def test_unknown_timm_names_show_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm("timm"))
    with pytest.raises(InvalidInput, match=r"no network 'resnet19'.*resnet18"):
        Timm("resnet19")


def test_timm_missing_or_beside_a_broken_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdfast\[timm\]'"):
        architecture("timm:resnet18")
    monkeypatch.delitem(sys.modules, "timm")
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match=r"torchvision.*nms does not exist.*pip install 'holdfast\[timm\]'"):
        architecture("timm:resnet18")
