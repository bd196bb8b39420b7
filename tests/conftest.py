"""What all tests share: one thread, deterministic examples, real images where they are, tiny models."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from holdfast.noise import Noise

# The suite shares its machine with others, and tiny tensors gain nothing from threads.
torch.set_num_threads(1)

# Same examples in every run; a laptop under load must not fail a deadline; nothing is written into the checkout.
settings.register_profile("holdfast", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("holdfast")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; this machine has none"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with `mnist/` and `cifar10/`, each holding train-*.parquet and test-*.parquet in the hub's schema."""
    given = os.environ.get("HOLDFAST_DATA")
    places = [Path(given)] if given else [ROOT / "shared" / "data", ROOT.parent / "shared" / "data"]
    for place in places:
        if (place / "mnist").is_dir() or (place / "cifar10").is_dir():
            return place
    looked = ", ".join(map(str, places))
    pytest.skip(f"no MNIST or CIFAR-10 on disk (looked in {looked}; set HOLDFAST_DATA to their folder)")


@pytest.fixture
def global_state_rests() -> Iterator[None]:
    """Fails a test that moves torch's global generator, the default type or gradient mode."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state()), "the test moved torch's global generator"
    assert torch.get_default_dtype() == torch.float32, "the test changed torch's default dtype"
    assert torch.is_grad_enabled(), "the test switched gradients off"


@contextmanager
def _unwaited() -> Iterator[None]:
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def unwaited() -> Callable[[], AbstractContextManager[None]]:
    """A block in which whatever would wait for a CUDA device fails."""
    return _unwaited


def _filled(seed: int, *layers: nn.Module) -> nn.Sequential:
    """A stack of layers whose parameters depend on the seed alone, scaled by the fan-in."""
    model = nn.Sequential(*layers)
    for position, (name, parameter) in enumerate(model.named_parameters()):
        values = Noise.of(seed, torch.tensor([position])).normal(parameter.shape)[0]
        if parameter.dim() > 1:
            parameter.data = values * (2.0 / parameter[0].numel()) ** 0.5
        else:
            parameter.data = 0.1 * values + (1.0 if name.endswith("weight") else 0.0)
    return model


@pytest.fixture
def linear() -> nn.Module:
    """Logits of 5 classes, linear in images of shape (2, 6, 6)."""
    with torch.random.fork_rng(devices=[]):
        return _filled(1, nn.Flatten(), nn.Linear(72, 5))


@pytest.fixture
def cnn() -> nn.Module:
    """Images of shape (2, 6, 6) to logits of 5 classes, without normalisation layers; in train mode."""
    with torch.random.fork_rng(devices=[]):
        first, second, last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2), nn.Linear(32, 5)
    return _filled(2, first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), last)


@pytest.fixture
def bn_cnn() -> nn.Module:
    """As `cnn`, with BatchNorm whose running statistics differ from those of any batch; in train mode."""
    with torch.random.fork_rng(devices=[]):
        first, second, last = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2), nn.Linear(32, 5)
    norms = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
    for position, norm in enumerate(norms):
        draw = Noise.of(4, torch.tensor([position]))
        norm.running_mean = 0.2 * draw.fold(0).normal((8,))[0]
        norm.running_var = draw.fold(1).uniform((8,), 0.5, 1.5)[0]
    return _filled(3, first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU(), nn.Flatten(), last)


@pytest.fixture
def images() -> Tensor:
    """12 images [12, 2, 6, 6] in [0, 1], some pixels at 0 and at 1."""
    return Noise.of(5, torch.arange(12)).uniform((2, 6, 6), -0.2, 1.2).clamp(0, 1)


@pytest.fixture
def labels() -> Tensor:
    """Their labels, all of 5 classes among them."""
    return torch.arange(12) % 5
