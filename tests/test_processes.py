"""One process, or several: how they meet."""

import atexit
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from holdfast.errors import InvalidInput
from holdfast.processes import meeting, processes, usable


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with two CUDA devices, as far as numbers go; which of them were made current."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch, two_devices: list[torch.device]) -> None:
    """A process group of CUDA devices is up."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)


def test_a_process_waits_days_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks on one share may take hours longer than on another; torch gives up after minutes."""
    asked: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **options: asked.update(options))
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(atexit, "register", lambda call: call)
    assert processes("cpu").world == 2
    assert asked["timeout"] > timedelta(days=1)


def test_the_device_becomes_torch_s_current_one(two_devices: list[torch.device]) -> None:
    """Also of a single process: events and synchronisation go by the current device."""
    assert processes("cuda:1").device == torch.device("cuda:1")
    assert two_devices == [torch.device("cuda:1")]


@pytest.mark.usefixtures("nccl")
def test_processes_on_devices_meet_there() -> None:
    assert meeting(torch.device("cpu")) == torch.device("cuda:1")
    assert meeting(torch.device("cuda:0")) == torch.device("cuda:0")
    with pytest.raises(InvalidInput, match="meet by NCCL"):
        processes("cpu")


def test_a_process_alone_stays_where_its_model_is() -> None:
    assert meeting(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["meta", "mps", "xpu", "gpu"])
def test_devices_that_cannot_be_used_are_refused(device: str) -> None:
    with pytest.raises(InvalidInput, match=rf"device '?{device}'? .*give cpu, cuda or cuda:1"):
        usable(device)


def test_a_finished_process_runs_nothing_more() -> None:
    """What libraries do at the interpreter's end may abort it; what was printed is there."""
    code = (
        "import atexit, os\natexit.register(os.abort)\nfrom holdfast.processes import finish\nprint('done')\nfinish(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "done\n")
