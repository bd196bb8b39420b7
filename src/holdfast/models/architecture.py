"""What an architecture is: a frozen value that builds a network for a shape, a number of classes and a seed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from holdfast.errors import InvalidInput, unknown
from holdfast.models.normalize import check_statistics, normalized

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "softplus": nn.Softplus}


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """A network on paper. Every option is a field, so that a record of the value rebuilds the network.

    Args:
        mean: what the network's first layer subtracts from each channel of inputs in [0, 1]; empty for no such layer.
        std: what it divides by; as long as `mean`.

    Raises:
        InvalidInput: at construction, for statistics or options that no network can have.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_statistics(self.mean, self.std)

    @property
    @abstractmethod
    def label(self) -> str:
        """The name from which `architecture` makes this value with default options."""

    def build(self, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
        """Make the network, on the CPU, in train mode, from inputs in [0, 1] to logits.

        The weights are a function of `seed` alone; the global generators are left as they were.

        Args:
            shape: of one example, without the batch: (C, H, W), or (F,) for a table.
            classes: number of logits.
            seed: of the initialisation.

        Raises:
            InvalidInput: the network does not take such examples.
        """
        if not shape or min(shape) < 1:
            raise InvalidInput(f"examples of shape {tuple(shape)} hold no numbers; give (C, H, W) or (F,)")
        if classes < 2:
            raise InvalidInput(f"{classes} classes leave nothing to tell apart; give at least 2")
        if self.mean and len(self.mean) != shape[0]:
            raise InvalidInput(
                f"mean and std have {len(self.mean)} values, but examples of shape {tuple(shape)} have "
                f"{shape[0]} channels; give one value a channel"
            )
        # The default generator is seeded by itself because torch.manual_seed would seed every accelerator too.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            network = self._network(tuple(shape), classes)
        return normalized(network, self.mean, self.std)

    @abstractmethod
    def _network(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network without normalisation, initialised from torch's default generator."""

    def _need_images(self, shape: tuple[int, ...], least: int = 1) -> None:
        """Refuse examples that are not images of at least `least` x `least` pixels."""
        if len(shape) != 3 or min(shape[1:]) < least:
            raise InvalidInput(
                f"{self.label} takes images [C, H, W] of at least {least} x {least} pixels, but the examples have "
                f"shape {shape}; use mlp for tables and tiny images"
            )

    def _need_at_least(self, option: str, least: int) -> None:
        value = getattr(self, option)
        if value < least:
            raise InvalidInput(f"{option} of {self.label} is {value}; give at least {least}")

    def _need_dropout(self, value: float) -> None:
        if not 0.0 <= value < 1.0:
            raise InvalidInput(f"dropout of {self.label} is {value}; give a probability in [0, 1), 0 for none")


@dataclass(frozen=True, kw_only=True)
class Activated(Architecture):
    """A network on paper whose activation can be chosen.

    Args:
        activation: relu; softplus and silu make the loss twice differentiable.
    """

    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise unknown(f"activation of {self.label}", self.activation, ACTIVATIONS)

    def _activation(self) -> nn.Module:
        return ACTIVATIONS[self.activation]()
