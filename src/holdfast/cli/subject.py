"""What `holdfast evaluate` measures: a model, its images and its threat model."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from holdfast.cli.choose import located
from holdfast.cli.folders import EVALUATIONS
from holdfast.data import Split, open_split
from holdfast.errors import InvalidInput
from holdfast.models.foreign import FORMS, Loader, loader
from holdfast.recipe import codec
from holdfast.threat import ThreatModel, threat
from holdfast.training import Run, record


@dataclass(frozen=True)
class Subject:
    """Everything that an evaluation needs to know about what it measures.

    Attributes:
        folder: where evaluations of this model are kept.
        run: the run's folder, None for a model from elsewhere.
        recorded_clean: clean accuracy on the held-out images, as the training recorded it; None for other images.
    """

    model: nn.Module
    images: Split
    threat: ThreatModel
    name: str
    run: str | None
    folder: Path
    recorded_clean: float | None = None


def find(options: argparse.Namespace) -> Subject:
    """Load the model that the command line names, with its test images.

    Raises:
        InvalidInput: neither a run's folder nor a form that `loader` knows, or data and eps are missing for the
            latter.
        CheckpointError: a damaged run, or published weights that cannot be had.
        MissingExtra: a package that this kind of model needs is not installed.
        DataError: the images cannot be had.
    """
    found = loader(options.model)
    return _from_elsewhere(options, *found) if found else _trained(options)


def _trained(options: argparse.Namespace) -> Subject:
    folder = Path(options.model)
    if not folder.is_dir():
        raise InvalidInput(
            f"there is no folder {options.model!r}; give the --out of `holdfast train`, or one of {', '.join(FORMS)}"
        )
    run = Run.open(folder)
    # Each part is decoded by itself: a run on tensors in memory can be evaluated on images from elsewhere.
    recipe, sources = record.read(folder)["recipe"], folder / record.SOURCES
    source = located(options.data) if options.data else codec.decode(recipe["data"], sources)
    model = run.load(options.weights)
    recorded = (run.last if options.weights == "last" else run.best).get("clean_accuracy")
    return Subject(
        model=model,
        images=open_split(source, "test"),
        threat=_threat(options, codec.decode(recipe["threat"], sources)),
        name=folder.resolve().name,
        run=str(folder),
        folder=folder / EVALUATIONS,
        recorded_clean=None if options.data else recorded,
    )


def _from_elsewhere(options: argparse.Namespace, name: str, load: Loader) -> Subject:
    if options.data is None or options.eps is None:
        raise InvalidInput(f"{options.model} does not say on what to measure it; add --data and --eps (and --norm)")
    images = open_split(located(options.data), "test")
    return Subject(
        model=load(images.shape, len(images.classes)),
        images=images,
        threat=_threat(options, None),
        name=name,
        run=None,
        folder=Path(EVALUATIONS) / name,
    )


def _threat(options: argparse.Namespace, own: ThreatModel | None) -> ThreatModel:
    """The run's own threat model, or that of --norm and --eps."""
    if options.eps is None and options.norm is None and own is not None:
        return own
    if options.eps is None:
        raise InvalidInput(f"--norm {options.norm} needs --eps, because {own} says nothing about other norms")
    norm = options.norm or (own.norm if own is not None else "Linf")
    return threat(norm, options.eps)
