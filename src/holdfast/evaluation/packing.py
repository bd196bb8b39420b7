"""The packed loop: searches of many examples share one batch that stays full.

An attack makes several searches of an example (targets x restarts). Each is a row of the batch; a row that is done,
or whose example is decided, gives its place to the next waiting search. An example's verdict is that of its first
search, in order, that succeeds: a success cancels the later searches and lets the earlier ones finish, so that the
verdict does not depend on what else was in the batch, and nothing runs that one-by-one evaluation would not have run.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from holdfast.attacks import Attack, State
from holdfast.evaluation.examples import Counted, Subject
from holdfast.evaluation.judge import Judgement, judge
from holdfast.noise import Noise, stream_seed
from holdfast.threat import ThreatModel

S = TypeVar("S", bound=State)
# Square's queries on one CPU thread took 2.6 times less with 8 at once for 4 images of MNIST, 1.9 times less for 2 of
# CIFAR-10 (ResNet-18 of width 16, float32), and no less for 30 and 16.
FILLED = 32  # rows beyond which a pass on a CPU has no room for more
FARTHEST = 8  # iterations of a row in one leap; of more, too many would be in vain


class Decision(NamedTuple):
    """The end of an attack on one example.

    Attributes:
        example: its position in the split.
        prediction: the class given to the adversary, -1 where there is none.
        distance: of the adversary, nan where there is none.
        steps: iterations of its searches up to the one that decided.
        x_adv: the adversary, or the last search's strongest candidate.
        margin: the least that the judge saw at a candidate that is none, inf if it saw none.
    """

    example: int
    prediction: int
    distance: float
    steps: int
    x_adv: Tensor
    margin: float = math.inf


class _Ended(NamedTuple):
    """What the judge says of a search's candidate.

    Attributes:
        found: (prediction, distance) of an adversary, None if it is none.
        margin: of the model's logits at the candidate, inf if nobody asked.
    """

    found: tuple[int, float] | None
    margin: float = math.inf


@dataclass
class _Case:
    """What is known so far of one example under attack."""

    failed: set[int] = field(default_factory=set)  # searches that found nothing
    success: int | None = None  # the first search, in order, known to succeed
    decision: Decision | None = None  # the verdict, once every search before it has failed
    margin: float = math.inf  # the least at a candidate that the judge saw and refused

    def decided(self, searches: int) -> bool:
        before = searches if self.success is None else self.success
        return all(search in self.failed for search in range(before))


class PackedSearch(Generic[S]):
    """Runs one attack on many examples.

    Args:
        attack, threat, subject: who attacks whom within which bounds.
        report: called with decisions as they fall.
        tick: called after each step with the rows that it moved, for a display.
        asked: who answers the searches; the model itself by default. The judge asks the model in any case.
        coarse: `asked` rounds so coarsely that it may be blind to an adversary. The strongest candidate of a search
            that found nothing is then judged too, and a claim that the model denies ends its search.
    """

    def __init__(
        self,
        attack: Attack[S],
        threat: ThreatModel,
        subject: Subject,
        report: Callable[[Sequence[Decision]], None],
        tick: Callable[[int], object] = lambda rows: None,
        asked: Counted | None = None,
        coarse: bool = False,
    ) -> None:
        self.attack, self.threat, self.subject, self.report, self.tick = attack, threat, subject, report, tick
        self.asked, self.coarse = asked or subject.model, coarse
        ranking = subject.ranking
        self.targets = min(attack.targets, ranking.shape[1]) if attack.targets else 0
        self.searches = max(self.targets, 1) * attack.restarts
        self.most = self.searches * attack.budget  # steps of an example that survives
        self.stream = stream_seed(*attack.name.encode()) >> 1
        self.cases: dict[int, _Case] = {}  # of the examples under attack
        self.decided: set[int] = set()
        self.places: list[tuple[int, int] | None] = []  # (example, search) of each row, None once it is done
        self.state: S | None = None

    def run(self, waiting: Sequence[int]) -> None:
        """Decide the examples at these positions of the split."""
        queue = self._queue(waiting)
        while self._fill(queue):
            self._advance()
            self._settle()

    def _queue(self, waiting: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Searches in order: block by block, so that decisions fall all along and a killed run loses little."""
        block = 2 * self.subject.batch_size
        for start in range(0, len(waiting), block):
            for search in range(self.searches):
                for example in waiting[start : start + block]:
                    if example not in self.decided and self.cases.setdefault(example, _Case()).success is None:
                        yield example, search

    def _fill(self, queue: Iterator[tuple[int, int]]) -> bool:
        """Replace rows that are done, once there are enough of them to be worth the copying; False when all is done."""
        live = [place is not None for place in self.places]
        done = len(live) - sum(live)
        if self.state is not None and any(live) and done * 32 < len(live):
            return True
        parts: list[S] = []
        if self.state is not None and any(live):
            parts.append(
                self.state if done == 0 else self.state.select(torch.tensor(live, device=self.subject.examples.device))
            )
        self.places = [place for place in self.places if place is not None]
        fresh: list[tuple[int, int]] = []
        while len(self.places) + len(fresh) < self.subject.batch_size and (place := next(queue, None)) is not None:
            fresh.append(place)
        if fresh:
            parts.append(self._start(fresh))
        self.places += fresh
        if not parts:
            self.state = None
            return False
        self.state = parts[0] if len(parts) == 1 else type(parts[0]).concat(parts)
        return True

    def _start(self, places: Sequence[tuple[int, int]]) -> S:
        example, search = torch.tensor(places, dtype=torch.int64).unbind(dim=1)
        x, y = self.subject.examples.rows(example.tolist())
        noise = Noise.of(self.subject.seed, example.to(y.device), self.stream).fold(search.to(y.device))
        target = None
        if self.targets:
            target = self.subject.ranking[example, search // self.attack.restarts].to(y.device)
        return self.attack.start(self.threat, x, y, noise, target)

    def _advance(self) -> None:
        """One iteration of all rows, or several where the batch has room for them."""
        state = self.state
        assert state is not None
        room = min(self.subject.batch_size, FILLED) if state.y.device.type == "cpu" else self.subject.batch_size
        most = min(max(room // len(self.places), 1), FARTHEST)
        self.state = self.attack.leap(self.threat, self.asked, state, most)
        self.tick(len(self.places) if most == 1 else int((self.state.iteration - state.iteration).sum()))

    def _settle(self) -> None:
        """Judge the rows that claim success or have spent their budget, and report what that decides."""
        state = self.state
        assert state is not None
        spent = state.iteration >= self.attack.budget
        # One look at an accelerator a step: nonzero() there would wait for it as well.
        done = (state.success | spent).cpu().nonzero().flatten().tolist()
        ended = [row for row in done if self.places[row] is not None]
        if not ended:
            return
        at = torch.tensor(ended, device=state.y.device)
        refuted = []
        touched = set()
        columns = (ended, self._judge(state, at), spent[at].tolist(), state.iteration[at].tolist())
        for row, end, over, iterations in zip(*columns, strict=True):
            place = self.places[row]
            assert place is not None
            if end.found is None and not over:
                if not self.coarse:
                    refuted.append(row)
                    continue
                end = _Ended(None, 0.0)  # what the two disagree on lies at the edge
            self._end(place, end, iterations, row)
            self.places[row] = None
            touched.add(place[0])
        if refuted:
            # The claim did not hold in the judge's pass (rounding): the search goes on.
            success = state.success.clone()
            success[torch.tensor(refuted, device=success.device)] = False
            self.state = replace(state, success=success)
        self._decide(touched)

    def _judge(self, state: S, at: Tensor) -> list[_Ended]:
        """What the candidates of these rows are. Those that claim nothing are shown only where that may be wrong."""
        unseen = self.attack.hands_over_unseen or self.coarse
        claims = torch.ones_like(at, dtype=torch.bool) if unseen else state.success[at]
        ends = [_Ended(None)] * len(at)
        shown = at[claims]
        if len(shown):
            for k, end in zip(claims.nonzero().flatten().tolist(), self._shown(state.select(shown)), strict=True):
                ends[k] = end
        return ends

    def _shown(self, state: S) -> list[_Ended]:
        """The judge's verdict on every row."""
        found: Judgement = judge(self.subject.model, self.threat, self.attack.name, state.x, state.y, state.x_adv)
        rows = zip(*(column.tolist() for column in found), strict=True)
        return [
            _Ended((prediction, distance) if broken else None, margin) for broken, prediction, distance, margin in rows
        ]

    def _end(self, place: tuple[int, int], end: _Ended, iterations: int, row: int) -> None:
        """Note how one search ended."""
        assert self.state is not None
        example, search = place
        # A copy: a decision that waits for its report must not hold the whole batch.
        case, x_adv = self.cases[example], self.state.x_adv[row].clone()
        steps = search * self.attack.budget + iterations
        if end.found is None:
            case.failed.add(search)
            case.margin = min(case.margin, end.margin)
            if case.success is None and search == self.searches - 1:
                case.decision = Decision(example, -1, float("nan"), steps, x_adv)
        elif case.success is None or search < case.success:
            case.success = search
            case.decision = Decision(example, *end.found, steps, x_adv)

    def _decide(self, touched: set[int]) -> None:
        """Report the examples that are decided now, and cancel the searches that a success has made needless."""
        decisions = []
        for example in sorted(touched):
            case = self.cases[example]
            if case.decided(self.searches):
                assert case.decision is not None
                self.decided.add(example)
                decisions.append(case.decision._replace(margin=case.margin))
                del self.cases[example]
        for row, place in enumerate(self.places):
            if place is not None and place[0] in touched:
                live = self.cases.get(place[0])
                if live is None or (live.success is not None and place[1] > live.success):
                    self.places[row] = None
        if decisions:
            self.report(decisions)
