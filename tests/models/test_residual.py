"""The residual networks against a plain functional forward of the published layout, and named layers for hooks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.models import PreActResNet18, WideResNet


def normalise(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return F.relu(
        F.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5
        )
    )


def reference(x: Tensor, w: dict[str, Tensor], stages: int, blocks: int) -> Tensor:
    """Eval-mode forward, written from the papers' tables with the weights by name."""
    x = F.conv2d(x, w["conv1.weight"], padding=1)
    for stage in range(1, stages + 1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            out = normalise(x, w, f"{at}.bn1")
            shortcut = F.conv2d(out, w[f"{at}.shortcut.weight"], stride=stride) if f"{at}.shortcut.weight" in w else x
            out = F.conv2d(out, w[f"{at}.conv1.weight"], stride=stride, padding=1)
            x = F.conv2d(normalise(out, w, f"{at}.bn2"), w[f"{at}.conv2.weight"], padding=1) + shortcut
    features = normalise(x, w, "bn").mean(dim=(2, 3))
    return features @ w["fc.weight"].T + w["fc.bias"]


def test_networks_compute_the_published_layout() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for architecture, stages, blocks in ((PreActResNet18(width=3), 4, 2), (WideResNet(16, 2), 3, 2)):
        model = architecture.build((3, 16, 16), 10, seed=0)
        model(x)  # moves the running statistics away from 0 and 1
        model.eval()
        torch.testing.assert_close(model(x), reference(x, model.state_dict(), stages, blocks))


def test_features_are_reached_by_layer_name() -> None:
    model = PreActResNet18(width=2).build((3, 32, 32), 10, seed=0)
    seen: dict[str, Tensor] = {}
    for name in ("layer1", "layer4", "flatten"):
        model.get_submodule(name).register_forward_hook(lambda _m, _x, out, name=name: seen.update({name: out}))
    model(torch.rand(2, 3, 32, 32))
    assert {name: tuple(out.shape) for name, out in seen.items()} == {
        "layer1": (2, 2, 32, 32),
        "layer4": (2, 16, 4, 4),
        "flatten": (2, 16),
    }


def test_softplus_has_curvature_and_relu_has_none_in_its_input_gradient() -> None:
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    for activation, curved in (("softplus", True), ("relu", False)):
        model = PreActResNet18(width=1, activation=activation).build((3, 8, 8), 2, seed=0).eval()
        (gradient,) = torch.autograd.grad(model(x)[0, 0], x, create_graph=True)
        second = torch.autograd.grad(gradient.sum(), x, allow_unused=True)[0]
        assert (second is not None and bool(second.abs().max() > 0)) is curved


def test_wide_resnet_initialises_by_fan_out_and_drops_only_in_training() -> None:
    model = WideResNet(10, 4, dropout=0.5).build((3, 8, 8), 10, seed=0)
    weight = model.get_submodule("layer3.0.conv1").weight  # half as many inputs as outputs
    assert abs(weight.std().item() / (2.0 / (9 * weight.shape[0])) ** 0.5 - 1.0) < 0.02
    assert not model.get_submodule("fc").bias.any()
    x = torch.rand(2, 3, 8, 8)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
