"""One call for all diagnostics."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from holdfast import losses, modes, results
from holdfast.attacks.initial import check_start
from holdfast.data import ImageSet, Split, ordered_batches
from holdfast.diagnostics.alignment import gradient_alignment
from holdfast.diagnostics.corruptions import common_corruptions, published_corruptions
from holdfast.diagnostics.features import adversarial_features
from holdfast.diagnostics.invariance import invariance_tests
from holdfast.diagnostics.linearity import local_linearity
from holdfast.diagnostics.surface import loss_surface
from holdfast.errors import InvalidInput, unknown
from holdfast.processes import usable
from holdfast.provenance import versions
from holdfast.results import Diagnostics
from holdfast.rounding import float32
from holdfast.threat import ThreatModel

ALL = ("linearity", "surface", "alignment", "features", "invariance", "corruptions")
SURFACES = 4  # examples whose surface is drawn

_Call = Callable[[], dict[str, Any]]  # measures, and gives fields of `Diagnostics`


def diagnose(
    model: nn.Module,
    images: Split,
    threat: ThreatModel,
    *,
    which: Sequence[str] = ALL,
    n: int = 256,
    seed: int = 0,
    device: torch.device | str | None = None,
    batch_size: int = 256,
    layers: Sequence[str] = (),
    compact_layer: str | None = None,
    corrupted: Path | None = None,
    name: str = "model",
    run: str | None = None,
    split: str = "test",
    progress: bool = True,
    command: str = "",
) -> Diagnostics:
    """Look at a model around the first `n` examples of a split.

    The model is put in eval mode, and given back in the modes it came in; it stays on `device`. Random numbers belong
    to examples, so nothing depends on `batch_size` but speed, memory and the last bits of floats.

    Args:
        model: inputs in the threat model's box to logits [B, K].
        images: the split; name, run, split and command only describe it in the result.
        threat: S(x), for all but invariance and corruptions.
        which: names of `ALL`; what the data do not allow is skipped, and the result says why.
        n: examples, or all where there are fewer; surfaces are drawn of the first 4.
        device: where to compute; the model's own device by default.
        layers, compact_layer: see `adversarial_features`.
        corrupted: folder of CIFAR-10-C or CIFAR-100-C, whose arrays then take the place of our corruptions.
        progress: show a line with the diagnostics done.

    Raises:
        InvalidInput: an unknown name, n below 1, inputs outside the box, a model that gives no [B, K] logits.
        DataError: `corrupted` does not hold the published arrays.
    """
    _check_asked(which, n)
    since = time.perf_counter()
    place = _placed(model, device)
    chosen = images.subset(range(min(n, len(images)))).load()
    skipped = _unfit(images, which)
    with float32(place):
        _check_model(model, chosen, threat, place)
        calls = _calls(model, chosen, threat, seed, batch_size, place, layers, compact_layer, corrupted)
        found = _measured(calls, [asked for asked in ALL if asked in which and asked not in skipped], progress)
    return Diagnostics(
        model=name,
        run=run,
        data=results.Data(images.name, split, len(images), images.fingerprint, images.classes),
        threat=results.Threat(threat.norm, threat.eps, threat.eps_text, threat.low, threat.high),
        n=len(chosen),
        seed=seed,
        **found,
        skipped=skipped,
        seconds=time.perf_counter() - since,
        versions=versions(str(place)),
        command=command,
    )


def _check_asked(which: Sequence[str], n: int) -> None:
    """Refuse what cannot be answered."""
    for asked in which:
        if asked not in ALL:
            raise unknown("diagnostic", asked, ALL)
    if n < 1:
        raise InvalidInput(f"n is {n}, but diagnostics need at least one example")


def _placed(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """Put the model on the device asked for, else wholly on that of its parameters; return the device."""
    own = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    place = usable(device) if device is not None else own
    model.to(place)
    return place


def _unfit(images: Split, which: Sequence[str]) -> dict[str, str]:
    """What of `which` the data do not allow, and why."""
    if len(images.shape) == 3:
        return {}
    return {asked: "the data are no images" for asked in ("invariance", "corruptions") if asked in which}


def _calls(
    model: nn.Module,
    images: ImageSet,
    threat: ThreatModel,
    seed: int,
    batch_size: int,
    device: torch.device,
    layers: Sequence[str],
    compact_layer: str | None,
    corrupted: Path | None,
) -> dict[str, _Call]:
    """What to call for each name of `ALL`."""
    options: dict[str, Any] = {"batch_size": batch_size, "device": device}
    seeded = {"seed": seed, **options}
    few = images.subset(range(min(SURFACES, len(images))))

    def features() -> dict[str, Any]:
        found = adversarial_features(model, images, threat, layers=layers, compact_layer=compact_layer, **seeded)
        return dict(zip(("divergence", "compactness"), found, strict=True))

    def corruptions() -> dict[str, Any]:
        if corrupted is not None:
            return {"corruptions": published_corruptions(model, corrupted, images, **options)}
        return {"corruptions": common_corruptions(model, images, **seeded)}

    return {
        "linearity": lambda: {"linearity": local_linearity(model, images, threat, **seeded)},
        "surface": lambda: {"surface": loss_surface(model, few, threat, **seeded)},
        "alignment": lambda: {"alignment": gradient_alignment(model, images, threat, **seeded)},
        "features": features,
        "invariance": lambda: {"invariance": invariance_tests(model, images, **seeded)},
        "corruptions": corruptions,
    }


def _measured(calls: Mapping[str, _Call], asked: Sequence[str], progress: bool) -> dict[str, Any]:
    """The fields of `Diagnostics` that the calls of these names give."""
    found: dict[str, Any] = {}
    for name in tqdm(asked, disable=None if progress else True):
        found |= calls[name]()
    return found


def _check_model(model: nn.Module, images: ImageSet, threat: ThreatModel, device: torch.device) -> None:
    """Refuse a model or inputs that nothing can be measured on."""
    x = next(ordered_batches(images, 2, device))[0]
    check_start(x, threat)
    with modes.inference(model), torch.no_grad():
        logits = model(x)
    losses.check_shape(logits, len(x), len(images.classes))
