"""One process, or several that torchrun started, which train or measure one model together."""

import atexit
import gc
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from holdfast.errors import InvalidInput

_PATIENCE = timedelta(days=7)  # of a process for the others: attacks on its share may take theirs hours longer


@dataclass(frozen=True)
class Processes:
    """This process and how many there are.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
        device: where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """This process is the one that writes files and talks."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Add a tensor over all processes, in place; the same result in each."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.sum(torch.zeros(1, device=self.device)).item()

    def join(self, module: nn.Module, partial: bool = False) -> nn.Module:
        """The module with its gradients averaged over the processes in each backward pass.

        Buffers are the first process's: they are sent to the others before each forward pass.

        Args:
            partial: a backward pass may leave out parameters, which then have no gradient; costs a look at each graph.
        """
        if self.world == 1:
            return module
        return DistributedDataParallel(module, gradient_as_bucket_view=True, find_unused_parameters=partial)

    def share_buffers(self, module: nn.Module) -> None:
        """Send the first process's buffers to the others, as each joined forward pass does."""
        if self.world > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def gathering(self, joined: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around the passes of a part of a batch: gradients meet only after the last part."""
        if last or not isinstance(joined, DistributedDataParallel):
            return nullcontext()
        silence: AbstractContextManager[None] = joined.no_sync()
        return silence


def processes(device: str | torch.device | None = None) -> Processes:
    """The processes of this run.

    Reads the environment that torchrun sets (RANK, LOCAL_RANK, WORLD_SIZE); without it there is one process. A process
    group that the caller has set up is used; one that is set up here lasts until the process ends, because torchrun's
    store cannot join the same processes twice.

    Args:
        device: see `usable`. A CUDA device becomes torch's current one, which synchronisation and timing go by.

    Raises:
        InvalidInput: there is no such device here, or the process group that there is cannot use it.
    """
    chosen = usable(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not (dist.is_available() and dist.is_initialized()):
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return Processes(0, 1, chosen)
        if chosen.type == "cuda":
            dist.init_process_group("nccl", timeout=_PATIENCE, device_id=chosen)
        else:
            dist.init_process_group("gloo", timeout=_PATIENCE)
        atexit.register(_leave)
    elif _speaks_nccl() and chosen.type != "cuda":
        raise InvalidInput(
            f"device {chosen} was asked for, but these processes meet by NCCL, on CUDA devices; give cuda"
        )
    return Processes(dist.get_rank(), dist.get_world_size(), chosen)


def summed(values: Tensor) -> Tensor:
    """Add a tensor over all processes of this run, in place, where no `Processes` is at hand; every one must call."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def finish(status: int) -> NoReturn:
    """End this process with an exit status, at once and past the threads of torch and other libraries.

    Their destruction at the interpreter's end now and then aborts a process whose work is done and on disk
    ("terminate called without an active exception"): several that torchrun started, and seldom a single one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _leave() -> None:
    """Leave the process group, whose threads must be gone before the interpreter is.

    DDP's modules are parts of reference cycles and hold the group: without a collection it lives on, and gloo now and
    then aborts the process at its end ("terminate called without an active exception").
    """
    gc.collect()
    dist.destroy_process_group()


def usable(device: str | torch.device | None = None) -> torch.device:
    """The device of a name.

    Args:
        device: "cpu", "cuda" or "cuda:1"; None for an accelerator where there is one. Of several processes on one
            machine each takes the CUDA device of its local rank, unless a number is given.

    Raises:
        InvalidInput: there is no such device here.
    """
    available = torch.cuda.is_available()
    try:
        chosen = torch.device(("cuda" if available else "cpu") if device is None else device)
    except RuntimeError as error:
        raise InvalidInput(f"device {device!r} is none that torch knows; give cpu, cuda or cuda:1") from error
    if chosen.type != "cuda":
        _probe(chosen)
        return chosen
    number = chosen.index if chosen.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
    if not available or number >= torch.cuda.device_count():
        count = torch.cuda.device_count() if available else 0
        raise InvalidInput(
            f"device {chosen} was asked for (number {number}), but torch sees {count} CUDA devices; use device cpu, or "
            "start no more processes than there are devices"
        )
    return torch.device("cuda", number)


def meeting(own: torch.device) -> torch.device:
    """Where to compute if nobody says: on `own`, or else on the device that the processes meet on."""
    if own.type != "cuda" and dist.is_available() and dist.is_initialized() and _speaks_nccl():
        return torch.device("cuda", torch.cuda.current_device())
    return own


def _speaks_nccl() -> bool:
    return bool(dist.get_backend() == "nccl")


def _probe(device: torch.device) -> None:
    """Keep a number on a device, and read it again."""
    try:
        torch.zeros((), device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"device {device} cannot be used here ({reason}); give cpu, cuda or cuda:1") from error
