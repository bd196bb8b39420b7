"""The command line: one file a command. Heavy imports happen inside the commands, so that help comes at once."""

import argparse
import os
import sys
from collections.abc import Sequence

from holdfast.allocator import keep_memory
from holdfast.cli import compare, diagnose, evaluate, methods, recipes, report, train
from holdfast.errors import HoldfastError

_EPILOG = """\
a first round, on images that come with scikit-learn:
  holdfast train atlas --data digits --out runs/first
  holdfast evaluate runs/first --attacks quick
  holdfast report runs/first --out report.html

`holdfast COMMAND --help` explains a command and gives examples.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done. 1: done, but a check failed (`evaluate --fail-under`, a training that collapsed). 2: it cannot be done; one
    message on stderr says why and what to do. 130: stopped by the keyboard.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    options.command_line = ["holdfast", *arguments]
    keep_memory()
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except HoldfastError as error:
        print(f"holdfast: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nholdfast: stopped{'; ' if stop.args else ''}{stop}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has left; nothing is to be said, not even while Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfast",
        description="Train image classifiers that stay right under attack, and measure how right they stay.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (train, evaluate, compare, diagnose, report, recipes, methods):
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from holdfast.provenance import release

        print(f"holdfast {release()}")
        parser.exit()
