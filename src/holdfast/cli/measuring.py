"""What `holdfast evaluate` and `holdfast diagnose` share: options, and the names of their results' folders."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.threat import ThreatModel


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is measured on what, besides the model and the number of images."""
    parser.add_argument("--weights", default="best", help="of the run: best (on held-out images; default) or last")
    parser.add_argument("--data", help="other images than the run's; as for `holdfast train`")
    parser.add_argument("--eps", help="another radius than the run's, e.g. 8/255")
    parser.add_argument("--norm", help="another norm than the run's: Linf, L2 or L1; needs --eps")
    parser.add_argument("--seed", type=int, default=0, help="of attacks and noise (default: 0)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: an accelerator if there is one)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")


def label(options: argparse.Namespace, threat: "ThreatModel") -> str:
    """The part of a folder's name that tells apart what was measured on one model."""
    parts = [threat.norm, threat.eps_text.replace("/", "-")]
    parts += [Path(options.data.replace(":", "-")).name] if options.data else []
    parts += [f"n{options.n}"] if options.n else []
    parts += [f"s{options.seed}"] if options.seed else []
    parts += [options.weights] if options.weights != "best" else []
    return "-".join(parts)
