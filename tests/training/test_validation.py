"""Held-out accuracies, against a plain computation and over processes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from holdfast.attacks import PGD, run
from holdfast.data import ImageSet
from holdfast.losses import margin
from holdfast.noise import Noise
from holdfast.processes import Processes
from holdfast.recipe import Recipe
from holdfast.threat import Linf
from holdfast.training import validation
from holdfast.training.validation import Accuracies, Validation

Make = Callable[..., Recipe]
CPU = torch.device("cpu")


@pytest.fixture
def held_out(images: Tensor) -> ImageSet:
    return ImageSet(images, torch.arange(12) % 5, tuple("abcde"), "held out")


def learnt(model: nn.Module, held_out: ImageSet) -> nn.Module:
    """The model, made right about most of the images, so that there is something to break."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
    for _ in range(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(held_out.images), held_out.labels).backward()
        optimizer.step()
    return model


def test_counts_what_a_plain_loop_counts(tiny: Make, bn_cnn: nn.Module, held_out: ImageSet) -> None:
    attack, threat = PGD(steps=3, step_size=0.5, early_stop=True, restarts=2), Linf(0.1)
    recipe = tiny(validation=attack, batch_size=5, seed=7)
    model = learnt(bn_cnn, held_out)
    found = Validation(recipe, held_out, Processes(0, 1, CPU))(model, threat)
    assert all(module.training for module in model.modules()), "the model's modes were not restored"

    model.eval()
    x, y = held_out.images, held_out.labels
    stands = margin(model(x), y) > 0
    clean = stands.float().mean().item()
    for restart in range(2):
        noise = Noise.of(7, torch.arange(12), validation._STREAM, restart)
        stands &= margin(model(run(attack, threat, model, x, y, noise).x_adv), y) > 0
    assert found == Accuracies(pytest.approx(clean), pytest.approx(stands.float().mean().item()))
    assert 0 < found.robust_accuracy < found.clean_accuracy, "the example shows nothing"


@pytest.mark.parametrize("world", [2, 5, 20])
def test_shares_add_up_to_the_whole(
    tiny: Make, cnn: nn.Module, held_out: ImageSet, monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    """Each process counts its images; 20 processes are more than there are images."""
    monkeypatch.setattr(Processes, "sum", lambda self, values: values)
    model = learnt(cnn, held_out)
    recipe = tiny(batch_size=40)

    def measure(processes: Processes) -> Accuracies:
        return Validation(recipe, held_out, processes)(model, Linf(0.1))

    whole = measure(Processes(0, 1, CPU))
    shares = [measure(Processes(rank, world, CPU)) for rank in range(world)]
    assert sum(share.clean_accuracy for share in shares) == pytest.approx(whole.clean_accuracy)
    assert sum(share.robust_accuracy for share in shares) == pytest.approx(whole.robust_accuracy)
