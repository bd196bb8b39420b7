"""Which software, on which machine, made a result; stored beside every run and every evaluation."""

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def release() -> str:
    """Holdfast's version; "not installed" where it runs from a source folder that Python was only shown."""
    try:
        return version("holdfast")
    except PackageNotFoundError:
        return "not installed"


def versions(device: str) -> dict[str, str]:
    """Versions of what decides the numbers, the name of the device ("cpu", "cuda:0"), and Holdfast's commit."""
    import torch

    found = {"holdfast": release(), "torch": version("torch"), "numpy": version("numpy")}
    found["python"] = platform.python_version()
    found["platform"] = platform.platform()
    found["device"] = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    found["threads"] = str(torch.get_num_threads())
    if commit := _commit():
        found["commit"] = commit
    return found


def fingerprint(model: "nn.Module") -> str:
    """SHA-256, in hexadecimal, of a model's parameters and buffers with their names."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _processor() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the checkout that Holdfast runs from, with "+changes" where files differ from it."""
    here = Path(__file__).parent
    try:
        tracked = _git(here, "ls-files", "--error-unmatch", "provenance.py")
        commit = _git(here, "rev-parse", "HEAD") if tracked else None
        return commit and commit + ("+changes" if _git(here, "status", "--porcelain", "--", ".") else "")
    except OSError:  # no git on this machine
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Standard output of a git command, None where it fails."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
