"""Searches that are run once and handed out again.

A wrapper may need a method's loss twice in a step at the same adversaries: AWP first to learn how the weights are to be
perturbed, then at the perturbed weights. `run` records its results on a tape and reads them off it again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from holdfast.typing import Images

Found = TypeVar("Found")


class Tape:
    """The results of a step's searches, in their order. Within another tape it asks that one before it searches."""

    def __init__(self) -> None:
        self._found: list[tuple[Images, Any]] = []
        self._next: int | None = None  # the result to hand out; None while recording
        self._outer: Tape | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what the searches of this block find."""
        self._found, self._next = [], None
        with self._open():
            yield

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Hand the results out again in place of the searches of this block.

        A search from other inputs than the recorded one is run: a method may choose the rows that it attacks by what
        the model says.
        """
        self._next = 0
        with self._open():
            yield

    @contextmanager
    def _open(self) -> Iterator[None]:
        self._outer = _TAPE.get()
        token = _TAPE.set(self)
        try:
            yield
        finally:
            _TAPE.reset(token)

    def play(self, x: Images, search: Callable[[], Found]) -> Found:
        """What a search from `x` finds: run and recorded, or read off the tape."""
        if self._next is None:
            found = self._search(x, search)
            self._found.append((x, found))
            return found
        if self._next == len(self._found) or not _same(self._found[self._next][0], x):
            return self._search(x, search)
        recorded: Found = self._found[self._next][1]
        self._next += 1
        return recorded

    def _search(self, x: Images, search: Callable[[], Found]) -> Found:
        return self._outer.play(x, search) if self._outer else search()


def _same(first: Images, second: Images) -> bool:
    # The same tensor in nearly all methods; only a comparison of values waits for the device.
    return first is second or torch.equal(first, second)


_TAPE: ContextVar[Tape | None] = ContextVar("tape", default=None)


def played(x: Images, search: Callable[[], Found]) -> Found:
    """Run a search from `x`, unless an open tape has its result."""
    tape = _TAPE.get()
    return search() if tape is None else tape.play(x, search)
