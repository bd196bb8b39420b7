"""The process behind the command `holdfast`, and behind `python -m holdfast` for torchrun and places without it."""

import sys
from typing import NoReturn

from holdfast.cli import main


def run() -> NoReturn:
    """Run a command, and end the process with its exit status."""
    status = main()
    if "torch" in sys.modules:
        from holdfast.processes import finish

        finish(status)
    sys.exit(status)


if __name__ == "__main__":
    run()
