"""`holdfast report`: saved results in, one HTML page out. Needs no model and no accelerator, and imports no torch."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cli.folders import DIAGNOSIS, DIAGNOSTICS, EVALUATION, EVALUATIONS, METRICS, VERDICTS
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from holdfast.results import Diagnostics, Evaluation, History

_EPILOG = """\
examples:
  holdfast report runs/mine --out report.html
  holdfast report runs/atlas runs/fgsm_rs            side by side
  holdfast report runs/mine/evaluations/quick-Linf-0.3
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="write one page about runs and their evaluations",
        description="Write one self-contained HTML page: accuracies with intervals, findings, training curves, robust "
        "accuracy against eps, diagnostics, and examples with their adversaries.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN", help="a run, or the folder of one evaluation or diagnosis"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collect the results and write the page."""
    from holdfast.report import write

    evaluations: list[Evaluation] = []
    histories: dict[str, History] = {}
    diagnostics: dict[str, Diagnostics] = {}
    for folder in options.folders:
        found, history = _read(folder)
        evaluations += found
        run = next((e.run for e in found if e.run), str(folder))
        diagnostics |= _diagnosed(folder, run)
        if history is not None:
            histories[run] = history
    page = write(evaluations, histories, options.out, diagnostics=diagnostics)
    count = len(evaluations)
    told = f", {len(diagnostics)} diagnostics" if diagnostics else ""
    print(f"{page.resolve()}: {count} evaluation{'s' if count != 1 else ''}, {len(histories)} training curves{told}")
    return 0


def _read(folder: Path) -> "tuple[list[Evaluation], History | None]":
    """The evaluations of a folder and, if it is a run, its training's log."""
    from holdfast.results import Evaluation, History

    if (folder / EVALUATION).is_file():
        return [Evaluation.load(folder)], None
    found = [Evaluation.load(part) for part in _finished(folder)]
    if (folder / METRICS).is_file():
        return found, History.read(folder / METRICS)
    if not found and not _looks(folder):
        what = "is no folder" if not folder.is_dir() else "holds neither a run nor an evaluation"
        raise InvalidInput(f"{folder} {what}; give the --out of `holdfast train` or of `holdfast evaluate`")
    return found, None


def _diagnosed(folder: Path, run: str) -> "dict[str, Diagnostics]":
    """The diagnostics of a folder, under the name of its run; where there are several, of their place below it."""
    from holdfast.results import Diagnostics

    looks = _looks(folder)
    names = [run] if len(looks) == 1 else [str(Path(run) / look.relative_to(folder)) for look in looks]
    return {name: Diagnostics.load(look) for name, look in zip(names, looks, strict=True)}


def _looks(folder: Path) -> list[Path]:
    """Where diagnostics lie: in the folder itself, or below a run's."""
    paths = (folder / DIAGNOSIS, *sorted((folder / DIAGNOSTICS).rglob(DIAGNOSIS)))
    return [path.parent for path in paths if path.is_file()]


def _finished(folder: Path) -> Iterator[Path]:
    for part in sorted((folder / EVALUATIONS).glob("*")):
        if (part / EVALUATION).is_file():
            yield part
        elif any(part.glob(VERDICTS)):
            print(f"left out: {part} is not finished; `holdfast evaluate` goes on with it", file=sys.stderr)
