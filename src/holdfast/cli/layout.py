"""What the terminal shows: plain lines, tables and shares."""

import os
import shutil
import textwrap
from collections.abc import Sequence

_LEAST = 24  # columns that the last column keeps on a narrow terminal


def table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Aligned columns under headers; the last one is wrapped to the terminal's width.

    Where output goes to a file or a pipe, the width is that of the environment variable COLUMNS, or 80.
    """
    columns = list(zip(headers, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(shutil.get_terminal_size().columns - indent, _LEAST))
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths, indent) for row in (headers, rule, *rows))


def _line(row: Sequence[str], widths: Sequence[int], indent: int) -> str:
    first = "  ".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False))
    start = first + "  " if first else ""
    lines = textwrap.wrap(row[-1], widths[-1], break_on_hyphens=False) or [""]
    return (start + ("\n" + " " * indent).join(lines)).rstrip()


def say(text: str) -> None:
    """Print, from the first process alone; torchrun numbers them."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def percent(share: float) -> str:
    """A share in [0, 1] as the field writes it: 87.5 %."""
    return f"{100 * share:.1f} %"
