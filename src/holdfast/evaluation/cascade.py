"""The cascade: attacks one after the other, each on the examples that still stand, verdict by verdict."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tqdm import tqdm

from holdfast.attacks import Attack
from holdfast.evaluation.batches import fitting
from holdfast.evaluation.examples import Clean, Counted, Subject
from holdfast.evaluation.keepsakes import Costs, GalleryStore
from holdfast.evaluation.packing import Decision, PackedSearch
from holdfast.evaluation.precision import DOUBT
from holdfast.results import Passes, VerdictLog, interval
from holdfast.speed import StandIn
from holdfast.threat import ThreatModel


class Cascade:
    """Lets attacks try the examples of a log, and writes their verdicts down as they fall.

    Args:
        subject: whom they attack.
        threat: within which bounds.
        clean: what the model says of the clean inputs.
        quick: answers the searches in the model's place; None for the model itself.
        log, costs, shown: where verdicts, passes and adversaries are kept.
        progress: show a line with the bound on robust accuracy and the time left.
    """

    def __init__(
        self,
        subject: Subject,
        threat: ThreatModel,
        clean: Clean,
        quick: StandIn | None,
        log: VerdictLog,
        costs: Costs,
        shown: GalleryStore,
        progress: bool,
    ) -> None:
        self.subject, self.threat, self.clean = subject, threat, clean
        self.log, self.costs, self.shown, self.progress = log, costs, shown, progress
        self.quick = None if quick is None else Counted(quick)
        self.coarse = quick is not None and quick.passes.precision != "float32"
        self.standing = sum(y == p and not log.broken(example) for example, (y, p) in log.predictions.items())
        self._before = self._spent()

    def run(self, attack: Attack[Any]) -> None:
        """One attack on all examples that have no verdict of it and that none before it has broken."""
        rows, _ = fitting(self.subject.batch_size, partial(self._run, attack))
        self.subject = replace(self.subject, batch_size=rows)

    def _run(self, attack: Attack[Any], rows: int) -> None:
        subject = replace(self.subject, batch_size=rows)
        waiting = self.log.waiting(attack.name)
        doubtful: dict[int, float] = {}  # example -> the margin that it was left with
        # Foreign code may want more of the model than logits.
        quick = None if attack.passes is None else self.quick
        coarse = quick is not None and self.coarse
        with tqdm(desc=attack.name, disable=None if self.progress else True, unit="step", unit_scale=True) as bar:

            def note(decisions: Sequence[Decision], withhold: bool) -> None:
                if withhold:
                    doubtful.update({d.example: d.margin for d in decisions if self._in_doubt(d)})
                    settled = [d for d in decisions if d.example not in doubtful]
                else:
                    # The model's own search shows the judge no other candidates; later attacks ask for the margin.
                    settled = [d._replace(margin=doubtful.get(d.example, d.margin)) for d in decisions]
                self._keep(attack.name, settled)
                # The bar counts steps: those that a success has spared are taken off the whole.
                bar.total -= sum(search.most - decision.steps for decision in decisions)
                bar.set_postfix_str(f"{len(self.log.attacked[attack.name])} examples, {self._bound()}")

            report = partial(note, withhold=coarse)
            search = PackedSearch(attack, self.threat, subject, report, bar.update, asked=quick, coarse=coarse)
            bar.total = len(waiting) * search.most
            search.run(waiting)
            if doubtful:
                bar.total += len(doubtful) * search.most
                search = PackedSearch(attack, self.threat, subject, partial(note, withhold=False), bar.update)
                search.run(sorted(doubtful))

    def _in_doubt(self, decision: Decision) -> bool:
        """Whether a survivor of coarse passes stands so near the edge that they may have missed what breaks it."""
        clean = float(self.clean.margin[decision.example])  # 0 where two logits tie: nearer the edge nothing stands
        margin = min(decision.margin, self.log.margins.get(decision.example, decision.margin), clean)
        return decision.prediction < 0 and margin <= DOUBT * clean

    def _keep(self, attack: str, settled: Sequence[Decision]) -> None:
        if settled:
            self.shown.offer(attack, settled)
            examples, found, distances, steps, _, margins = zip(*settled, strict=True)
            self.log.record(attack, examples, found, distances, steps, margins)
            self.standing -= sum(prediction >= 0 for prediction in found)
        spent = self._spent()
        self.costs.add(attack, spent - self._before)
        self._before = spent

    def _spent(self) -> Passes:
        """What has been asked so far, of the model and of who answers for it, and the time."""
        asked = [model for model in (self.subject.model, self.quick) if model is not None]
        forward, backward, calls = (sum(getattr(m, name) for m in asked) for name in ("forward", "backward", "calls"))
        return Passes(forward, backward, calls, time.perf_counter(), sum(m.seconds for m in asked))

    def _bound(self) -> str:
        """The robust accuracy that is still possible, which only falls from here."""
        count = len(self.log.predictions)
        low, high = interval(self.standing, count)
        return f"robust <= {self.standing / count:.1%} [{low:.1%}, {high:.1%}]"
