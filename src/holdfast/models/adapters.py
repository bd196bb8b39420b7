"""Networks from elsewhere: timm's by name, and the user's own from a Python file."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from holdfast import userfile
from holdfast.errors import InvalidInput, MissingExtra
from holdfast.models.architecture import Architecture
from holdfast.models.normalize import normalized
from holdfast.modes import inference


@dataclass(frozen=True)
class Timm(Architecture):
    """A network of the timm package (the extra `timm`), made for the data's channels and classes.

    Args:
        name: as timm spells it, e.g. resnet18 or convnext_tiny.fb_in22k.
        pretrained: start from timm's published weights (downloaded by timm). If `mean` and `std` are empty, they are
            then those that the weights were trained with, because other inputs would be foreign to them.

    Raises:
        MissingExtra: timm, or the torchvision that it needs, is absent or broken.
        InvalidInput: timm has no such network.
    """

    name: str
    pretrained: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        timm = import_timm()
        if not timm.is_model(self.name):
            near = get_close_matches(self.name, timm.list_models(), n=5, cutoff=0.4)
            hint = f"the nearest are {', '.join(near)}" if near else "timm.list_models() lists them"
            raise InvalidInput(f"timm has no network {self.name!r}; {hint}")

    @property
    def label(self) -> str:
        return f"timm:{self.name}"

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        self._need_images(shape)
        network: nn.Module = import_timm().create_model(
            self.name, pretrained=self.pretrained, num_classes=classes, in_chans=shape[0]
        )
        check_logits(self.label, network, shape, classes)
        return own_statistics(network) if self.pretrained and not self.mean else network


@dataclass(frozen=True)
class UserModel(Architecture):
    """A network that a user's Python file makes.

    Args:
        path: of the Python file.
        function: name in it of a function, or of a class, that returns an `nn.Module`. It is given `shape` (of one
            example) and `classes` as keyword arguments, as far as its parameters bear these names.

    Raises:
        InvalidInput: no such file or name, a parameter that nobody gives, or a result that is no classifier of the
            data's shape and classes.
    """

    path: str
    function: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._accepted(self._maker())

    @property
    def label(self) -> str:
        return f"{self.path}:{self.function}"

    def _maker(self) -> Callable[..., Any]:
        maker: object = userfile.load(self.path, self.function)
        if not callable(maker):
            raise InvalidInput(f"{self.label} is a {type(maker).__name__}; give a function that returns an nn.Module")
        return maker

    def _accepted(self, maker: Callable[..., Any]) -> set[str]:
        """Which of `shape` and `classes` the function takes; refuses parameters that would stay empty."""
        accepted = set()
        for parameter in inspect.signature(maker).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                return {"shape", "classes"}
            if parameter.name in ("shape", "classes") and parameter.kind is not parameter.POSITIONAL_ONLY:
                accepted.add(parameter.name)
            elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
                raise InvalidInput(
                    f"{self.label} wants a parameter {parameter.name!r}, but is given only shape and classes; "
                    "give the parameter a default"
                )
        return accepted

    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        maker = self._maker()
        given = {"shape": shape, "classes": classes}
        # A function may have put its network on a device; networks are built on the CPU, and moved when it is known.
        network = self._module(maker(**{name: given[name] for name in self._accepted(maker)}), shape).cpu()
        check_logits(self.label, network, shape, classes)
        return network

    def _module(self, made: object, shape: tuple[int, ...]) -> nn.Module:
        """The network out of what the user's function returned for examples of `shape`."""
        if not isinstance(made, nn.Module):
            raise InvalidInput(f"{self.label} returned a {type(made).__name__}; return an nn.Module")
        return made


def import_timm() -> Any:
    """The package timm.

    Raises:
        MissingExtra: it, or the torchvision that it needs, is absent or broken.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtra(f"networks of timm need its package ({error}): pip install 'holdfast[timm]'") from error
    except RuntimeError as error:
        # A torchvision built for another torch fails while it registers its operators.
        raise MissingExtra(
            f"timm needs torchvision, and the installed one does not fit torch {torch.__version__} ({error}); install "
            "torchvision from where this torch came from, then: pip install 'holdfast[timm]'"
        ) from error
    return timm


def own_statistics(network: nn.Module) -> nn.Module:
    """A pretrained network of timm behind the normalisation that its weights were trained with."""
    own = network.pretrained_cfg
    assert isinstance(own, dict)
    return normalized(network, own["mean"], own["std"])


def check_logits(label: str, network: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    """Send two examples through the network: what does not return [2, classes] is no classifier of this data.

    Raises:
        InvalidInput: it takes other examples, or returns something else.
    """
    with inference(network), torch.no_grad():
        try:
            logits: object = network(torch.zeros(2, *shape))
        except (RuntimeError, AssertionError) as error:
            raise InvalidInput(f"{label} does not take examples of shape {shape}: {error}") from error
    if not isinstance(logits, torch.Tensor):
        raise InvalidInput(f"{label} returned a {type(logits).__name__}; return the logits, a tensor [B, {classes}]")
    if tuple(logits.shape) != (2, classes):
        raise InvalidInput(
            f"{label} returned {tuple(logits.shape)} for two examples; return logits (2, {classes}), one a class"
        )
