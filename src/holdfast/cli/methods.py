"""`holdfast methods`: what can be trained."""

import argparse
import sys
from typing import Any

from holdfast.cli.layout import table


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "methods",
        help="list the training methods: paper, cost, options",
        description="List the training methods. A pass is a forward and a backward pass of the whole batch; natural "
        "training takes one a step.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from dataclasses import fields

    from holdfast.methods import METHODS, WRAPPERS

    rows = []
    for name, kind in METHODS.items():
        paper = " ".join((sys.modules[kind.__module__].__doc__ or "").partition("\n\n")[0].split())
        names = ", ".join(field.name for field in fields(kind)) or "none"
        rows.append((name, f"{kind().passes:.3g}", f"{paper} Options: {names}."))
    print(table(rows, ("method", "passes", "what it is")))
    print(
        "\nPasses are those of the defaults. Set an option: holdfast train METHOD --data DATA --set method.OPTION=VALUE"
        f"\nAround any other method go {' and '.join(WRAPPERS)}: holdfast train trades+awp --data DATA "
        "--set method.gamma=0.005 --set method.method.beta=3"
    )
    return 0
