"""The page: tables and pictures of what has been measured."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.harness import Record, provenance, ratio
from benchmarks.pictures import bars
from benchmarks.speed import evaluation, growth, processes, training
from benchmarks.speed.subjects import SUBJECTS

NOTES = {
    "training": (
        "A training step",
        "Examples a second, and the time of a step over that of the bare passes of the same round: median [least, "
        "greatest] of the rounds. The step is the trainer's own, with batch, augmentation, noise, optimizer and log; "
        "the bare passes are float32 forward and backward passes that the algorithm cannot do without and the "
        "optimizer's step, on a batch that lies ready. `holdfast` is the step as recipes have it, by the passes "
        "that its trial chooses, `holdfast, plain float32` the one whose passes are like the bare ones; the passes of "
        "that trial alone are a line of their own, so that what the trainer adds to them is seen. "
        "MAIR has no FGSM-RS: its AT with one step of 1.25 eps stands there; it searches in eval mode, which is "
        "cheaper than the batch statistics that FGSM-RS and PGD-10 take here and in their papers' codes. ART "
        "attacks in batches of 32 in PGD-10 and climbs cross-entropy in TRADES. Nobody else has ATLAS.",
    ),
    "evaluation": (
        "Measuring a model",
        "Whole calls, clean pass, checks of the model and re-prediction of each candidate included. `holdfast` is "
        "`holdfast evaluate`, whose searches ask the passes in brackets, which a trial chose; `holdfast, float32` is "
        "the same with `--precision float32`. For PGD, `bare passes` are "
        "as many input gradients of all images as it has steps; ours leaves out what is broken already. For AutoAttack "
        "they are the passes that our own evaluation counted, at what they take in full batches with nothing beside "
        "them: in float32 by the model itself, and as `holdfast` computes them. torchattacks is given the 100 steps of "
        "the protocol by hand; its own AutoAttack has 10. `robust` is by the model's own prediction; AutoAttack rows "
        "are one run each.",
    ),
    "growth": (
        "Growth",
        "Plain float32 steps of the trainer, and evaluations with automatic precision; medians of rounds in which all "
        "points take turns.",
    ),
    "memory": (
        "Memory",
        "Peak resident memory of a process (on a GPU: of its tensors), torch and libraries included; `idle` has loaded "
        "the data and does nothing; `evaluate` is PGD-20 and 50 queries of Square in batches of the usual size, on a "
        "CPU 1,024 on MNIST and 256 on CIFAR-10.",
    ),
    "start-up": (
        "Start-up",
        "Seconds that pass, loading and decoding the data set and the trial of passes included, with a thread for each "
        "core, as by default.",
    ),
    "processes": (
        "Two processes",
        "torchrun with two processes on two cores against one process on one core, one thread each, in turn. Batch and "
        "work are the same. Seconds that pass, so other load on the machine counts. What two trainings that know "
        "nothing of each other gain is what the machine has to give: its cores share memory and clock.",
    ),
}
NOT_MEASURED = (
    "Nothing here was measured on a GPU. `python -m benchmarks.speed --device cuda` takes the same tables there, with "
    "the ResNet at width 64, and writes speed_gpu.md; so far it has run on a CPU only."
)
TABLES: Mapping[str, Callable[[Record], list[str]]] = {
    "training": training.report,
    "evaluation": evaluation.report,
    "growth": growth.report,
    "memory": processes.report_memory,
    "start-up": processes.report_startup,
    "processes": processes.report_scaling,
}


def write(found: Record, path: Path) -> None:
    """Write the page and its pictures from the parts that are there."""
    device = next(iter(found.values()))["made"]["device"]
    lines = [f"# Speed on {device}", "", "Written by `python -m benchmarks.speed` from the JSON file beside it.", ""]
    for part, (title, note) in NOTES.items():
        if part not in found:
            continue
        record = found[part]
        lines += [f"## {title}", "", note, "", *TABLES[part](record["found"])]
        if part == "training":
            bars(_relative(record["found"]), "speed over bare float32 passes", path.with_suffix(".svg"))
            lines += ["", f"![speed over bare passes]({path.stem}.svg)"]
        if part == "growth" and record["found"]:
            picture = path.with_name(f"{path.stem}_growth.svg")
            growth.draw(record["found"], picture)
            lines += ["", f"![growth]({picture.name})"]
        if part == "processes":
            picture = path.with_name(f"{path.stem}_processes.svg")
            processes.draw_scaling(record["found"], picture)
            lines += ["", f"![two processes]({picture.name})"]
        lines += ["", _told(record["made"]), ""]
    if path.stem.startswith("speed_cpu"):
        lines += ["## Not measured", "", NOT_MEASURED]
    path.write_text("\n".join(line for line in _squeezed(lines)) + "\n")


def _squeezed(lines: list[str]) -> list[str]:
    """No two empty lines in a row, none at the end."""
    kept = [line for line, before in zip(lines, ["x", *lines], strict=False) if line or before]
    return kept[:-1] if kept and not kept[-1] else kept


def _told(made: Record) -> str:
    present = ", ".join(f"{name} {version}" for name, version in made["peers"].items() if version != "absent")
    absent = ", ".join(name for name, version in made["peers"].items() if version == "absent")
    data = "; ".join(f"{name} is {what}" for name, what in made["data"].items() if name != what)
    told = [
        provenance(made),
        f"Nothing more was begun after {made['cut']:g} minutes." if "cut" in made else "",
        f"Peers: {present or 'none'}{f' (absent and left out: {absent})' if absent else ''}.",
        f"Data: {data}." if data else "",
    ]
    return " ".join(filter(None, told))


def _relative(found: Record) -> dict[str, dict[str, float]]:
    """How many times faster than the bare passes each is, by subject and method."""
    groups = {}
    for subject in SUBJECTS.values():
        for method, title in training.METHODS.items():
            record = found.get(f"{subject.data}/{method}")
            if record is not None:
                ratios = {name: ratio(record, training.FLOOR, name) for name in record["times"]}
                groups[f"{title}, {subject.label}"] = {name: r.median for name, r in ratios.items() if r is not None}
    return groups
