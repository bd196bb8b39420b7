"""`holdfast evaluate`: attack a trained model and write every verdict down."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.layout import percent, say, table
from holdfast.cli.measuring import add_options, label

if TYPE_CHECKING:
    from holdfast.cli.subject import Subject
    from holdfast.results import Evaluation

_EPILOG = """\
examples:
  holdfast evaluate runs/mine                                 on the run's own test images and threat model
  holdfast evaluate runs/mine --attacks cascade --n 1000 --eps 16/255
  holdfast evaluate my_model.py:net --data cifar10 --eps 8/255    a function that returns your trained network
  holdfast evaluate net.ts --data cifar10 --eps 8/255             a TorchScript file; or timm:NAME, hf-hub:ORG/NAME,
                                                                  robustbench:NAME with their published weights
  holdfast evaluate net.onnx --data cifar10 --eps 8/255 --attacks gradient_free
  holdfast evaluate runs/mine --attacks my_attacks.py:suite       your own attacks
  holdfast evaluate runs/mine --fail-under 0.45               exit status 1 below 45 % robust accuracy
  torchrun --nproc-per-node 2 -m holdfast evaluate runs/mine -n 1000

A killed evaluation goes on when the same command is given again. Verdicts do not depend on --batch-size or --device
(up to the device's rounding).
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model under attack",
        description="Attack a model's test images, keep the verdict on each, and print the accuracies with their 95 % "
        "intervals.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the folder of a run; PATH.py:FUNCTION, which returns a network or any function from inputs in [0, 1] to "
        "logits; timm:NAME; hf-hub:ORG/NAME; robustbench:NAME; a TorchScript file .ts or .pt; a file .onnx",
    )
    parser.add_argument(
        "--attacks",
        default="quick",
        metavar="PROTOCOL",
        help="autoattack (to publish), quick (its first two; default), pgd, cascade, rand, gradient_free; llr, adr or "
        "sprout (what those papers used); or PATH.py:FUNCTION for attacks of your own",
    )
    # The short form is for torchrun, which takes --n for the beginning of an option of its own.
    parser.add_argument("--n", "-n", type=int, help="the first N test images (default: all)")
    add_options(parser)
    parser.add_argument("--batch-size", type=int, help="images in a batch (default: by their size and the device)")
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="NAME",
        help="of the searches' passes: float32, bfloat16, or auto (default): what a short trial finds the fastest; "
        "every candidate, and what is in doubt, is judged in float32 in any case",
    )
    parser.add_argument("--out", type=Path, help="folder of the verdicts (default: below the run, evaluations/...)")
    parser.add_argument(
        "--fail-under", type=_share, metavar="X", help="exit with status 1 if robust accuracy is below X, in [0, 1]"
    )
    parser.set_defaults(run=run)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no share; write 0.45 for 45 %")
    return value


def run(options: argparse.Namespace) -> int:
    """Evaluate, print, and compare with --fail-under."""
    from holdfast.cli.choose import device
    from holdfast.cli.subject import find
    from holdfast.evaluation import evaluate, protocol

    subject = find(options)
    attacks = protocol(options.attacks, subject.threat)
    out = options.out or _folder(options, subject)
    try:
        evaluation = evaluate(
            subject.model,
            subject.images,
            subject.threat,
            attacks,
            name=subject.name,
            run=subject.run,
            n=options.n,
            seed=options.seed,
            batch_size=options.batch_size,
            device=device(options.device),
            precision=options.precision,
            folder=out,
            recorded_clean=subject.recorded_clean,
            command=shlex.join(options.command_line),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from here") from None
    if options.json:
        say(json.dumps(evaluation.to_json(), indent=2))
    else:
        say(_summary(evaluation))
        say(f"\nverdicts  {out}\nnext      holdfast report {subject.run or out} --out report.html")
    return _check(evaluation, options.fail_under)


def _folder(options: argparse.Namespace, subject: "Subject") -> Path:
    """Below the run, with a name that tells evaluations of one model apart."""
    parts = [Path(options.attacks).name.replace(".py:", "-"), label(options, subject.threat)]
    parts += [options.precision] if options.precision != "auto" else []
    return subject.folder / "-".join(parts)


def _summary(evaluation: "Evaluation") -> str:
    verdicts, data, threat = evaluation.verdicts, evaluation.data, evaluation.threat
    found = [("none (clean)", verdicts.clean)]
    found += zip(verdicts.attacks, verdicts.cumulated(), strict=True)
    rows = []
    for name, rate in found:
        low, high = rate.interval()
        rows.append((name, percent(rate.value), f"{percent(low)} to {percent(high)}", f"{rate.count} of {rate.n}"))
    headers = ("after attack", "accuracy", "95 % interval", "examples")
    lines = [
        f"{evaluation.model} on {data.name}, {threat.norm} {threat.eps_text}, protocol {evaluation.protocol}, seed "
        f"{evaluation.seed}, {len(verdicts)} of {data.n} examples, {evaluation.seconds:.0f} s",
        "",
        table(rows, headers),
        "",
        f"robust accuracy {percent(verdicts.robust_accuracy)} (right on the clean image and under every attack)",
    ]
    if costs := [(name, cost) for name, cost in evaluation.passes.items() if cost.seconds]:
        spent = [
            (name, f"{cost.seconds:.1f}", percent(cost.model_share), f"{cost.rows_per_call:.0f}" if cost.calls else "-")
            for name, cost in costs
        ]
        headers = ("attack", "seconds", "within the model", "rows a call")
        lines += ["", f"searches asked {evaluation.precision} passes", "", table(spent, headers)]
    for finding in evaluation.findings:
        lines += ["", f"{finding.severity.upper()}: {finding.title}", f"  {finding.evidence}", f"  {finding.advice}"]
    return "\n".join(lines)


def _check(evaluation: "Evaluation", least: float | None) -> int:
    robust = evaluation.verdicts.robust_accuracy
    if least is None or robust >= least:
        return 0
    print(f"holdfast: robust accuracy {robust:.4f} is below --fail-under {least:g}", file=sys.stderr)
    return 1
