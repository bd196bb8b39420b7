"""comparison.json: what a folder compares. It grows by methods and seeds; everything else stays as it was begun."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from holdfast.comparison.contender import Contender, advice, check_labels, tried
from holdfast.errors import CheckpointError, InvalidInput
from holdfast.evaluation import Protocol
from holdfast.evaluation.precision import EvaluationPrecision, check
from holdfast.files import write_atomically
from holdfast.methods import PGDAT
from holdfast.recipe import Recipe, codec
from holdfast.recipe.override import override
from holdfast.training.budget import Budget, Pace, pace, settled
from holdfast.training.rehearsal import in_memory, rehearse

SCHEMA = "holdfast.comparison/1"
NAME = "comparison.json"
RUNS = "runs"
SOURCES = "source"  # copies of the user's own Python files

Json = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """What is the same for all methods, and stays so while the comparison grows.

    Attributes:
        base: the recipe that every method is put into; its own method, epochs and seed play no part.
        budget: of each training.
        attacks: of the evaluation.
        n: examples of the test split, all if None.
        trials: of the search for hyper-parameters, for each method.
        trial_share: of the budget that a trial has.
        device: "cpu" or "cuda".
        search_precision: of the attacks' passes, see `evaluate`.
    """

    base: Recipe
    budget: Budget
    attacks: Protocol
    n: int | None
    trials: int
    trial_share: float
    device: str
    search_precision: EvaluationPrecision = "auto"

    def __post_init__(self) -> None:
        if self.trials < 0:
            raise InvalidInput(f"trials is {self.trials}; give at least 1 to search, or 0 for no search")
        if not 0.0 < self.trial_share < inf:
            raise InvalidInput(f"a trial with {self.trial_share:g} of the budget trains nothing; give a share above 0")

    def written(self) -> Json:
        """As plain data.

        Raises:
            InvalidInput: no such precision.
        """
        check(self.search_precision)
        base = codec.encode(self.base)
        for name in ("method", "epochs", "seed", "sources"):
            del base[name]
        attacks = {"protocol": str(self.attacks), "parameters": [repr(attack) for attack in self.attacks.attacks]}
        limits = {"n": self.n, "trials": self.trials, "trial_share": self.trial_share, "device": self.device}
        attacks["precision"] = self.search_precision
        return {"recipe": base, "budget": asdict(self.budget), "attacks": attacks, **limits}


@dataclass(frozen=True)
class Entry:
    """A method with what its training was given.

    Attributes:
        contender: the method.
        epochs: that the budget buys.
        ratio: cost of a step over one of natural training; None where the budget is not one of time.
    """

    contender: Contender
    epochs: float
    ratio: float | None = None


@dataclass(frozen=True)
class Plan:
    """All that decides a comparison.

    Attributes:
        terms: the same for all.
        entries: the methods by their labels.
        seeds: with which each is trained.
        natural_seconds: of a step of natural training on this machine when the comparison was begun.
        passes: how they are computed in all runs, where the common recipe says "auto", as --set takes it.
    """

    terms: Terms
    entries: Mapping[str, Entry] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    natural_seconds: float | None = None
    passes: tuple[str, ...] = ()

    def recipe(self, contender: Contender) -> Recipe:
        """The common recipe with a method put into it."""
        recipe = contender.put_into(override(self.terms.base, self.passes))
        # Compiled passes can neither be differentiated twice nor be asked for gradients within.
        return recipe if contender.method.compilable else replace(recipe, compile=False)

    def grown(
        self,
        contenders: Iterable[Contender],
        seeds: Iterable[int],
        device: str,
        tell: Callable[[str], None] | None = None,
    ) -> "Plan":
        """The plan with more methods and seeds; paces are measured where they are needed.

        Each new method takes one step on the device, so that none fails when others were trained already. `tell` is
        given what a user should know of one.

        Raises:
            InvalidInput: a label stands for another method here, or a method cannot be trained.
        """
        new = self._new(contenders)
        check_labels([*(entry.contender for entry in self.entries.values()), *new])
        found = self if self.entries else replace(self, passes=_settled(self.terms, device))
        # The images are read once, whatever the number of methods.
        images = in_memory(self.terms.base.data) if new else self.terms.base.data
        recipes = []
        for contender in new:
            with tried(contender):
                recipe = found.recipe(contender)
                recipe = replace(recipe, data=images) if recipe.data is self.terms.base.data else recipe
                network = rehearse(recipe, device)
            if tell and (told := advice(contender, recipe, network)):
                tell(told)
            recipes.append(recipe)
        for contender, recipe in zip(new, recipes, strict=True):
            found = found._with(contender, recipe, device)
        return replace(found, seeds=tuple(sorted({*self.seeds, *seeds})))

    def _new(self, contenders: Iterable[Contender]) -> list[Contender]:
        new = []
        for contender in contenders:
            if contender.label not in self.entries:
                new.append(contender)
                continue
            known = self.entries[contender.label].contender
            changed = codec.differences(known.method, contender.method)
            for name in ("share", "changes"):
                old, new_value = getattr(known, name), getattr(contender, name)
                changed += [f"{name}: {old} -> {new_value}"] if old != new_value else []
            if changed:
                raise InvalidInput(
                    f"{contender.label} stands for another method here ({'; '.join(changed)}); give the new one a "
                    "label of its own: NAME=METHOD,..."
                )
        return new

    def _with(self, contender: Contender, recipe: Recipe, device: str) -> "Plan":
        terms = self.terms
        budget = replace(terms.budget, amount=terms.budget.amount * contender.share)
        if budget.unit != "seconds":
            entry = Entry(contender, budget.epochs(recipe))
            return replace(self, entries={**self.entries, contender.label: entry})
        measured = pace(recipe, device)
        # What a second buys is settled once, so that a method that is added on a busier day gets as much as the others.
        natural = self.natural_seconds or measured.natural_seconds
        epochs = budget.epochs(recipe, Pace(measured.ratio, natural, measured.per_epoch))
        entries = {**self.entries, contender.label: Entry(contender, epochs, measured.ratio)}
        return replace(self, entries=entries, natural_seconds=natural)

    def save(self, folder: Path) -> None:
        """Write comparison.json and copies of the user's own files.

        Raises:
            InvalidInput: one of these files has changed since.
        """
        methods = tuple(entry.contender.method for entry in self.entries.values())
        files = {file.name: file.read_bytes() for file in codec.user_files((self.terms.base, *methods))}
        for name, content in files.items():
            copy = folder / SOURCES / name
            if copy.exists() and copy.read_bytes() != content:
                raise InvalidInput(
                    f"{name} has changed since {folder} was begun, and results of other code do not stand side by "
                    f"side; give it another name, or choose another --out (the old one is {copy})"
                )
        for name, content in files.items():
            write_atomically(folder / SOURCES / name, content)
        written = {
            "schema": SCHEMA,
            "terms": self.terms.written(),
            "seeds": list(self.seeds),
            "natural_seconds": self.natural_seconds,
            "passes": list(self.passes),
            "entries": {label: _write(entry) for label, entry in self.entries.items()},
        }
        write_atomically(folder / NAME, (json.dumps(written, indent=2) + "\n").encode())


def resume(folder: Path, terms: Terms) -> Plan:
    """The plan in a folder, or a new one if there is none. Trials may be raised while no final run has begun: those
    that are made stay as they are, because a trial depends on its number and on those before it alone.

    Raises:
        InvalidInput: the folder compares on other terms; the message holds every difference.
        CheckpointError: comparison.json is damaged or foreign.
    """
    if not (folder / NAME).exists():
        return Plan(terms)
    found = _read(folder)
    old, new = found["terms"], terms.written()
    changed = codec.differences(old, new)
    begun = sorted(run.name for run in (folder / RUNS).glob("*"))
    if old["trials"] < terms.trials and codec.differences({**old, "trials": terms.trials}, new) == []:
        if begun:
            raise InvalidInput(
                f"{folder} has begun final runs with the best of {old['trials']} trials ({', '.join(begun)}), so more "
                f"trials ({changed[0]}) come too late; remove {folder / RUNS}, and they are made anew while the trials "
                "stay, or choose another --out"
            )
        changed = []
    if changed:
        raise InvalidInput(
            f"{folder} compares on other terms ({'; '.join(changed)}), and results on different terms do not stand "
            "side by side; give the old ones, or another --out"
        )
    entries = {label: _entry(label, data, folder / SOURCES) for label, data in found["entries"].items()}
    return Plan(terms, entries, tuple(found["seeds"]), found["natural_seconds"], tuple(found["passes"]))


def check_trials(folder: Path, plan: Plan) -> None:
    """Refuse to begin a final run with the best of fewer trials than another process asked for meanwhile.

    Raises:
        InvalidInput: one did.
    """
    trials = _read(folder)["terms"]["trials"]
    if trials != plan.terms.trials:
        raise InvalidInput(
            f"another process has raised the trials of {folder} from {plan.terms.trials} to {trials}; give this "
            f"command again with --tune {trials}"
        )


def _settled(terms: Terms, device: str) -> tuple[str, ...]:
    """The passes that suit ADV of ten steps, for all methods: which are the fastest must not differ by chance."""
    found = settled(replace(terms.base, method=PGDAT()), terms.budget, device)
    names = ("precision", "channels_last", "compile")
    return tuple(f"{name}={getattr(found, name)}".lower() for name in names if getattr(terms.base, name) == "auto")


def _write(entry: Entry) -> Json:
    contender = entry.contender
    return {
        "method": codec.encode(contender.method),
        "source": contender.source,
        "share": contender.share,
        "changes": list(contender.changes),
        "epochs": entry.epochs,
        "ratio": entry.ratio,
    }


def _entry(label: str, data: Json, sources: Path) -> Entry:
    method = codec.decode(data["method"], sources)
    contender = Contender(label, method, data["share"], tuple(data["changes"]), data["source"])
    return Entry(contender, data["epochs"], data["ratio"])


def _read(folder: Path) -> Json:
    path = folder / NAME
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); without it the comparison cannot go on") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise CheckpointError(f"{path} is no comparison of this version of Holdfast")
    return found
