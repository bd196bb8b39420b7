"""`python -m holdfast`, for torchrun and for places where the command is not on the path."""

import sys

from holdfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
