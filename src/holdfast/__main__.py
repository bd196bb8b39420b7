"""`python -m holdfast`, for torchrun and for places where the command is not on the path."""

import os
import sys

from holdfast.cli import main

if __name__ == "__main__":
    status = main()
    if "WORLD_SIZE" not in os.environ:
        sys.exit(status)
    # Started by torchrun; torch is loaded by now in any case.
    from holdfast.processes import finish

    finish(status)
