"""Trained models from elsewhere: every form of name, and what tells two of them apart."""

import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from holdfast.errors import CheckpointError, InvalidInput, MissingExtra
from holdfast.models import BlackBox, is_blind
from holdfast.models.foreign import loader
from holdfast.modes import inference
from holdfast.provenance import fingerprint

SHAPE, CLASSES = (2, 6, 6), 5  # of the fixtures in the first conftest.py

FUNCTIONS = """
import numpy as np
import torch
from torch import nn

WEIGHT = np.arange(72 * 5, dtype=np.float64).reshape(72, 5) % 7

def arrays():
    return lambda x: x.reshape(len(x), -1) @ WEIGHT

def again():
    return arrays()

def tensors():
    return lambda x: x.flatten(1).unsqueeze(2).mul(torch.from_numpy(WEIGHT)).sum(dim=1).requires_grad_()

def lists(shape, classes):
    return lambda x: [[float(i == row.sum() // 1) for i in range(classes)] for row in x]

def module():
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 5))

def greedy():
    def spoil(x):
        x -= 1
        return x.reshape(len(x), -1)[:, :5]
    return spoil

def elsewhere():
    def refuse(x):
        raise RuntimeError("Expected all tensors to be on the same device")
    return refuse

def neither():
    return lambda x: x.no_such_thing

def labels():
    return lambda x: np.zeros(len(x), dtype=np.int64)

def nothing():
    return lambda x: None

def a_class():
    return nn.Linear
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.py"
    path.write_text(FUNCTIONS)
    return path


def load(text: str | Path) -> nn.Module:
    found = loader(str(text))
    assert found is not None
    return found[1](SHAPE, CLASSES)


def written(make: Callable[[], torch.jit.ScriptModule], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        torch.jit.save(make(), path)
    return path


def test_other_texts_are_no_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "run.pt").mkdir()
    for text in ("runs/mine", "atlas", "timm:", "zoo:resnet18", str(tmp_path / "run.pt")):
        assert loader(text) is None


def test_short_names_are_names_of_folders() -> None:
    texts = ("a/b.py:net", "timm:resnet18.a1_in1k", "hf-hub:org/net", "robustbench:cifar10/L2/Standard", "a/net.onnx")
    names = [found[0] for text in texts if (found := loader(text))]
    expected = ["b-net", "timm-resnet18.a1_in1k", "hf-hub-org-net", "robustbench-cifar10-L2-Standard", "net.onnx"]
    assert names == expected


@pytest.mark.parametrize("kind", ["script", "trace", "freeze"])
def test_torchscript_computes_what_was_saved_with_gradients(
    kind: str, bn_cnn: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    network = bn_cnn.eval()
    make = {
        "script": lambda: torch.jit.script(network),
        "trace": lambda: torch.jit.trace(network, images),
        "freeze": lambda: torch.jit.freeze(torch.jit.script(network)),
    }[kind]
    model = load(written(make, tmp_path / "net.ts"))
    assert not model.training
    model.train()
    with inference(model):
        torch.testing.assert_close(model(images), network(images))
        x, y = images.clone().requires_grad_(), images.clone().requires_grad_()
        torch.testing.assert_close(
            torch.autograd.grad(model(x)[:, 0].sum(), x), torch.autograd.grad(network(y)[:, 0].sum(), y)
        )
    assert model.training
    assert not is_blind(model)


@pytest.mark.gpu
@pytest.mark.parametrize("freeze", [False, True])
def test_programs_answer_inputs_on_a_gpu(freeze: bool, bn_cnn: nn.Module, images: Tensor, tmp_path: Path) -> None:
    def make() -> torch.jit.ScriptModule:
        program = torch.jit.script(bn_cnn.eval())
        return torch.jit.freeze(program) if freeze else program

    model = load(written(make, tmp_path / "net.ts"))
    expected = bn_cnn(images)
    x = images.cuda().requires_grad_()
    answer = model.cuda()(x)
    torch.testing.assert_close(answer.cpu(), expected, atol=1e-3, rtol=1e-3)
    assert torch.autograd.grad(answer.sum(), x)[0].is_cuda


def test_frozen_programs_of_other_weights_are_other_models(cnn: nn.Module, tmp_path: Path) -> None:
    def frozen() -> torch.jit.ScriptModule:
        return torch.jit.freeze(torch.jit.script(cnn.eval()))

    first = load(written(frozen, tmp_path / "a.ts"))
    with torch.no_grad():
        next(cnn.parameters()).mul_(2)
    second = load(written(frozen, tmp_path / "b.ts"))
    assert fingerprint(first) == fingerprint(load(tmp_path / "a.ts"))
    assert fingerprint(first) != fingerprint(second)


def test_files_that_are_no_programs_are_refused(cnn: nn.Module, tmp_path: Path) -> None:
    for name in ("weights.pt", "weights.pth"):
        torch.save(cnn.state_dict(), tmp_path / name)
    for name in ("weights.pt", "weights.pth", "nonsense.ts"):
        (tmp_path / "nonsense.ts").write_text("no zip")
        with pytest.raises(InvalidInput, match=rf"{name} is no TorchScript program .*torch.jit.save.*PATH.py:FUNCTION"):
            load(tmp_path / name)
    with pytest.raises(InvalidInput, match=r"there is no file '.*gone.ts'"):
        load(tmp_path / "gone.ts")


def test_a_program_for_other_classes_is_refused(cnn: nn.Module, tmp_path: Path) -> None:
    path = written(lambda: torch.jit.script(cnn.eval()), tmp_path / "net.pt")
    found = loader(str(path))
    assert found is not None
    with pytest.raises(InvalidInput, match=r"net.pt returned \(2, 5\) for two examples; return logits \(2, 10\)"):
        found[1](SHAPE, 10)


def test_functions_are_asked_with_what_they_take(functions: Path, images: Tensor) -> None:
    weight = (torch.arange(72 * 5).double() % 7).reshape(72, 5)
    for name in ("arrays", "tensors"):
        model = load(f"{functions}:{name}")
        assert isinstance(model, BlackBox)
        assert model.takes_tensors == (name == "tensors")
        assert is_blind(nn.Sequential(model))
        assert not model.training
        logits = model(images.requires_grad_())
        torch.testing.assert_close(logits.double(), images.detach().flatten(1).double() @ weight)
        assert not logits.requires_grad
    assert load(f"{functions}:lists")(images).shape == (12, 5)
    assert not is_blind(load(f"{functions}:module"))


def test_a_function_cannot_change_its_inputs(functions: Path, images: Tensor) -> None:
    before = images.clone()
    load(f"{functions}:greedy")(images)
    assert torch.equal(images, before)


def test_a_functions_file_and_name_tell_what_it_is(functions: Path, tmp_path: Path) -> None:
    first = fingerprint(load(f"{functions}:arrays"))
    assert first == fingerprint(load(f"{functions}:arrays"))
    assert first != fingerprint(load(f"{functions}:again"))
    other = tmp_path / "other.py"
    other.write_text(FUNCTIONS.replace("% 7", "% 5"))
    assert first != fingerprint(load(f"{other}:arrays"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("elsewhere", r"takes neither an array of numpy nor a tensor.*on the same device"),
        ("neither", r"takes neither an array of numpy nor a tensor of shape \(2, 2, 6, 6\).*no_such_thing"),
        ("labels", r"returned \(2,\) for two examples; return logits \(2, 5\)"),
        ("nothing", r"answered with a NoneType .*return logits \[B, K\]"),
        ("a_class", r"returned a type; return an nn.Module, or a function from inputs to logits"),
    ],
)
def test_functions_that_give_no_logits_are_refused(name: str, said: str, functions: Path) -> None:
    with pytest.raises(InvalidInput, match=said):
        load(f"{functions}:{name}")


class Zoo(types.ModuleType):
    """As much of timm as is touched, without a network."""

    def is_model(self, name: str) -> bool:
        return name == "tiny"

    def list_models(self) -> list[str]:
        return ["tiny"]

    def create_model(self, name: str, pretrained: bool) -> nn.Module:
        assert pretrained
        if name == "hf-hub:org/gone":
            raise ConnectionError("no route")
        network = nn.Sequential(nn.Flatten(), nn.Linear(72, 5))
        network.pretrained_cfg = {"mean": (0.5, 0.5), "std": (0.25, 0.25)}
        return network


def test_pretrained_networks_keep_their_head_and_bring_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", Zoo("timm"))
    for text in ("timm:tiny", "hf-hub:org/net"):
        model = load(text)
        assert model.get_submodule("normalize").mean.tolist() == [0.5, 0.5]
        assert not model.training
    with pytest.raises(InvalidInput, match=r"no network 'tinny'.*tiny"):
        load("timm:tinny")
    with pytest.raises(CheckpointError, match=r"org/gone could not be had \(ConnectionError: no route\).*without"):
        load("hf-hub:org/gone")


@pytest.mark.parametrize(
    ("text", "package", "remedy"),
    [
        ("timm:resnet18", "timm", r"pip install 'holdfast\[timm\]'"),
        ("hf-hub:org/net", "timm", r"pip install 'holdfast\[timm\]'"),
        ("robustbench:Carmon2019Unlabeled", "robustbench", r"pip install 'holdfast\[robustbench\]'"),
        ("net.onnx", "onnxruntime", r"pip install 'holdfast\[onnx\]'"),
    ],
)
def test_missing_packages_are_named_with_their_command(
    text: str, package: str, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=remedy):
        load(text)


def test_robustbench_ids_say_data_and_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_model(name: str, folder: Path, data: str, norm: str) -> nn.Module:
        asked.append((name, data, norm))
        return nn.Sequential(nn.Flatten(), nn.Linear(72, 5))

    utils = types.ModuleType("robustbench.utils")
    utils.load_model = load_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "robustbench", types.ModuleType("robustbench"))
    monkeypatch.setitem(sys.modules, "robustbench.utils", utils)
    load("robustbench:Standard")
    load("robustbench:cifar100/L2/Rice2020Overfitting")
    assert asked == [("Standard", "cifar10", "Linf"), ("Rice2020Overfitting", "cifar100", "L2")]
    with pytest.raises(InvalidInput, match="robustbench:a/b is no id"):
        load("robustbench:a/b")
