"""Trained models from elsewhere, to be measured: by name from a hub or a zoo, from a file, or behind a function."""

import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from holdfast import userfile
from holdfast.errors import CheckpointError, InvalidInput, MissingExtra
from holdfast.models.adapters import Timm, UserModel, check_logits, import_timm, own_statistics
from holdfast.models.blackbox import Identified, black_box, onnx
from holdfast.typing import Images, Logits

Loader = Callable[[tuple[int, ...], int], nn.Module]  # of the examples' shape and the number of classes
FORMS = ("PATH.py:FUNCTION", "timm:NAME", "hf-hub:ORG/NAME", "robustbench:ID", "PATH.ts", "PATH.pt", "PATH.onnx")
_ROBUSTBENCH = re.compile(r"(?:(?P<data>\w+)/(?P<norm>\w+)/)?(?P<name>[\w.-]+)")


def loader(text: str) -> tuple[str, Loader] | None:
    """Read the name of a trained model; the one place that knows the forms of such names.

    Args:
        text: one of

            - PATH.py:FUNCTION, which returns an nn.Module, or any function from inputs to logits (see `BlackBox`)
            - timm:NAME and hf-hub:ORG/NAME, with their published weights (extra `timm`)
            - robustbench:NAME or robustbench:DATA/NORM/NAME, e.g. robustbench:cifar10/L2/Standard; the former is
              cifar10/Linf (package robustbench)
            - PATH.ts, PATH.pt, PATH.pth, written by torch.jit.save
            - PATH.onnx (extra `onnx`), without gradients

    Returns:
        A short name for tables and folders, and a function of the examples' shape and the number of classes that loads
        the model: inputs in [0, 1] to logits, on the CPU. None if `text` has no such form.
    """
    if reference := userfile.parse(text):
        path, function = reference
        return f"{Path(path).stem}-{function}", lambda shape, classes: Anything(path, function).build(shape, classes, 0)
    kind, _, name = text.partition(":")
    named = {"timm": _timm, "hf-hub": _hub, "robustbench": _robustbench}
    if kind in named and name:
        load, short = named[kind], re.sub(r"[^\w.-]+", "-", text)
        return short, lambda shape, classes: _checked(text, load(name), shape, classes)
    files = {".ts": _torchscript, ".pt": _torchscript, ".pth": _torchscript, ".onnx": onnx}
    path_of = Path(text).expanduser()
    if path_of.suffix in files and not path_of.is_dir():
        read = files[path_of.suffix]
        return path_of.name, lambda shape, classes: _checked(text, read(_existing(path_of)), shape, classes)
    return None


@dataclass(frozen=True)
class Anything(UserModel):
    """A model that a user's Python file makes, or a black box: any callable from inputs to logits.

    The digest of a black box is of the file and the function's name. What the file imports, and what a remote service
    will answer tomorrow, it cannot see.
    """

    def _module(self, made: object, shape: tuple[int, ...]) -> nn.Module:
        if isinstance(made, nn.Module):
            return made
        if isinstance(made, type) or not callable(made):
            raise InvalidInput(
                f"{self.label} returned a {type(made).__name__}; return an nn.Module, or a function from inputs to "
                "logits"
            )
        text = Path(self.path).expanduser().read_bytes()
        return black_box(made, self.label, shape, hashlib.sha256(text + f"\0{self.function}".encode()).digest())


class Scripted(Identified):
    """A TorchScript program.

    A frozen one has no weights of its own, but constants that stay on the CPU: it is asked there, wherever its inputs
    are, and the file's digest says which it is.
    """

    def __init__(self, network: nn.Module, digest: bytes) -> None:
        super().__init__(digest)
        for module in network.modules():
            if not hasattr(module, "training"):
                module.training = False  # torch.jit.freeze takes the flag away, and nn.Module.eval() sets it
        self.network = network
        self.frozen = not network.state_dict()

    def forward(self, x: Images) -> Logits:
        """[B, ...] -> [B, K]."""
        logits: Logits = self.network(x.cpu()).to(x.device) if self.frozen else self.network(x)
        return logits


def _torchscript(path: Path) -> nn.Module:
    """torch.jit.load runs no Python of the file's, unlike torch.load of a whole module."""
    with warnings.catch_warnings():
        # torch advises torch.export to whoever writes such files; ours is only to read the ones that there are.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        try:
            network: nn.Module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise InvalidInput(
                f"{path} is no TorchScript program ({str(error).split('. ')[0]}); write it with torch.jit.save. For "
                "weights alone, write a function that makes the network and loads them, and give PATH.py:FUNCTION"
            ) from error
    return Scripted(network, hashlib.sha256(path.read_bytes()).digest())


def _timm(name: str) -> nn.Module:
    return _pretrained(f"timm:{name}", Timm(name).name)


def _hub(name: str) -> nn.Module:
    return _pretrained(f"hf-hub:{name}", f"hf-hub:{name}")


def _pretrained(label: str, name: str) -> nn.Module:
    """With the head that was trained; asked for another number of classes, timm would put a random one in its place."""
    timm = import_timm()
    return own_statistics(_fetched(label, lambda: timm.create_model(name, pretrained=True)))


def _robustbench(name: str) -> nn.Module:
    found = _ROBUSTBENCH.fullmatch(name)
    if found is None:
        raise InvalidInput(f"robustbench:{name} is no id; write robustbench:NAME or robustbench:DATA/NORM/NAME")
    data, norm = found["data"] or "cifar10", found["norm"] or "Linf"
    try:
        from robustbench.utils import load_model
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch fails with the latter
        raise MissingExtra(
            f"models of RobustBench need its package, and a torchvision that fits torch {torch.__version__} ({error}): "
            "pip install 'holdfast[robustbench]'"
        ) from error
    folder = Path(torch.hub.get_dir()) / "robustbench"
    return _fetched(f"robustbench:{name}", lambda: load_model(found["name"], folder, data, norm))


def _fetched(label: str, fetch: Callable[[], nn.Module]) -> nn.Module:
    try:
        return fetch()
    except Exception as error:
        # The libraries let through errors of several network packages; whichever it is, the remedy is the same.
        raise CheckpointError(
            f"{label} could not be had ({type(error).__name__}: {error}). Check the name; without a network, save the "
            "model elsewhere as a TorchScript or ONNX file and give that"
        ) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidInput(f"there is no file {str(path)!r} in {Path.cwd()}")
    return path


def _checked(label: str, network: nn.Module, shape: tuple[int, ...], classes: int) -> nn.Module:
    check_logits(label, network, shape, classes)
    return network.eval()
