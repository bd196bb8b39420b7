"""`holdfast recipes`: what is trained how, and who says so."""

import argparse
from typing import TYPE_CHECKING, Any

from holdfast.cli.layout import table

if TYPE_CHECKING:
    from holdfast.data import Source

_EPILOG = """\
examples:
  holdfast recipes                     all pairs of a data set and a method
  holdfast recipes show mnist atlas    every number of one, with its source
"""


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "recipes",
        help="list the recipes, or show one with the source of every number",
        description="List the recipes that `holdfast train METHOD --data DATA --recipe NAME` takes; without --recipe "
        "it is that of the data. Where a pair has a published recipe it is that one; 'ours' marks what nobody has "
        "published.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run_list)
    show = parser.add_subparsers(metavar="show").add_parser(
        "show", help="every number of one recipe", description="Print every choice of a recipe and where it comes from."
    )
    show.add_argument("data", metavar="DATA", help="digits, mnist, cifar10, cifar10_speedrun, cifar100 or imagenet")
    show.add_argument("method", metavar="METHOD", help="as `holdfast methods` lists them")
    show.set_defaults(run=run_show)


def run_list(options: argparse.Namespace) -> int:
    """Print one line a recipe."""
    from holdfast.errors import MissingExtra
    from holdfast.recipe.sources import source_of
    from holdfast.recipes import names, recipe

    rows = []
    for data, method in names():
        try:
            found = recipe(data, method)
        except MissingExtra:
            rows.append((data, method, "", "", "", "needs an optional package: pip install 'holdfast[timm]'"))
            continue
        source = source_of(found.sources, "method")
        rows.append((data, method, found.model.label, str(found.threat), str(found.epochs), source))
    print(table(rows, ("data", "method", "model", "threat", "epochs", "source of the method's numbers")))
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print one line a choice."""
    from holdfast.recipe.sources import leaves, source_of
    from holdfast.recipes import recipe

    found = recipe(options.data, options.method)
    numbers: dict[str, int] = {}  # each source is printed once, and referred to by its number
    rows = []
    for path, value in leaves(found):
        if value:
            number = numbers.setdefault(source_of(found.sources, path), len(numbers) + 1)
            rows.append((path, value, f"[{number}]"))
    print(table(rows, ("field", "value", "source")))
    print()
    print(table([(f"[{number}]", source) for source, number in numbers.items()], ("", "sources")))
    data = _given(options.data, found.data)
    print(f"\nChange any field: holdfast train {options.method} --data {data} --set FIELD=VALUE")
    return 0


def _given(name: str, source: "Source") -> str:
    """The data, and the recipe where another name finds it, as `holdfast train` takes them."""
    from holdfast.data.hub import HUB_IDS, Hub

    own = source.id if isinstance(source, Hub) and source.name not in HUB_IDS else source.name
    return own if own == name else f"{own} --recipe {name}"
