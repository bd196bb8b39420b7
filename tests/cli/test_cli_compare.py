"""`holdfast compare` from the command line."""

import json
from pathlib import Path

import pytest

from holdfast.attacks import PGD
from holdfast.cli import main
from holdfast.recipes import recipe
from holdfast.training import load_recipe

Capture = pytest.CaptureFixture[str]
ATTACKS = """
from holdfast.attacks import FGSM
def brief(threat): return (FGSM(),)
"""
COMMON = (
    "--data digits --model mlp --set model.hidden=8 --budget passes:2 --n 30 --attacks attacks.py:brief --device cpu "
    "--out cmp --seeds"
)


@pytest.fixture(autouse=True)
def _attacks() -> None:
    Path("attacks.py").write_text(ATTACKS)


def test_a_comparison_and_one_more_method(capsys: Capture) -> None:
    assert main(f"compare atlas mine.py:Own {COMMON} 0,1".split()) == 0
    said = capsys.readouterr()
    assert "digits, 2 passes of training for each run" in said.out
    assert "2 finished" in said.out
    assert "mine.py:Own, seed 1" in said.err
    assert Path("cmp/comparison.html").read_text().count('data-quantity="robust_accuracy"') == 2

    one_more = "pgd3=pgd_at,method.inner.steps=3,precision=bfloat16,budget=2"
    assert main(f"compare {one_more} {COMMON} 0".split()) == 0
    made = load_recipe(Path("cmp/runs/pgd3-s1"))
    assert (made.epochs, made.precision) == (1.0, "bfloat16")
    assert made.method.inner == PGD(steps=3, step_size=recipe("digits", "pgd_at").method.inner.step_size)
    assert made.optimizer == recipe("digits", "atlas").optimizer
    assert sorted(json.loads(Path("cmp/comparison.json").read_text())["entries"]) == ["atlas", "mine.py:Own", "pgd3"]


def test_a_users_file_may_not_change_under_a_comparison(capsys: Capture) -> None:
    assert main(f"compare mine.py:Own {COMMON} 0".split()) == 0
    assert main(f"compare mine.py:instance {COMMON} 0".split()) == 0
    mine = Path("mine.py")
    mine.write_text(mine.read_text() + "changed = True\n")
    capsys.readouterr()
    assert main(f"compare mine.py:factory {COMMON} 0".split()) == 2
    assert "mine.py" in (said := capsys.readouterr().err)
    assert "changed since cmp was begun" in said or "have the same name" in said
    assert sorted(json.loads(Path("cmp/comparison.json").read_text())["entries"]) == ["mine.py:Own", "mine.py:instance"]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("compare atals --budget 1s", "unknown method 'atals'; did you mean 'atlas'?"),
        ("compare atlas --budget 5days", "cannot read the budget '5days'"),
        ("compare atlas,method.bta=1 --budget 1s", "unknown field of method (ATLAS) 'bta'"),
        ("compare atlas,budget=much --budget 1s", "budget=much of atlas,budget=much is no number"),
        ("compare atlas --budget 1s --attacks many", "unknown"),
        ("compare atlas --budget 1s --norm L2", "--norm L2 needs --eps"),
    ],
)
def test_refusals(command: str, text: str, capsys: Capture) -> None:
    assert main(f"{command} --data digits --out cmp".split()) == 2
    assert text in capsys.readouterr().err
    assert not Path("cmp").exists()


def test_other_terms_are_told(capsys: Capture) -> None:
    assert main(f"compare natural {COMMON} 0".split()) == 0
    capsys.readouterr()
    assert main(f"compare natural {COMMON} 0 --eps 0.2".split()) == 2
    assert "compares on other terms (recipe.threat.eps: 0.15 -> 0.2)" in capsys.readouterr().err


def test_a_method_on_a_network_that_does_not_suit_it_is_told(capsys: Capture) -> None:
    assert main(f"compare llr llr,model.activation=softplus {COMMON} 0".split()) == 0
    said = capsys.readouterr().err
    assert said.count("hardly does; write METHOD,model.activation=softplus") == 1
    assert load_recipe(Path("cmp/runs/llr-model.activation=softplus-s0")).model.activation == "softplus"


def test_a_search_and_where_it_is_told(capsys: Capture) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed (extra: tune)")
    search = f"compare natural {COMMON} 0 --tune-share 0.5 --tune"
    assert main(f"{search} 2".split()) == 0
    made = [json.loads(Path(f"cmp/tuning/natural/00{number}/trial.json").read_text()) for number in (0, 1)]
    assert [list(trial["values"]) for trial in made] == [[], ["optimizer.lr"]]
    assert all(0.0 <= trial["score"] <= 1.0 for trial in made)
    assert load_recipe(Path("cmp/tuning/natural/000/run")).epochs == 1.0
    page = Path("cmp/comparison.html").read_text()
    assert "searched in 2 trials" in page
    assert ("tuned optimizer.lr" in page) == (made[1]["score"] > made[0]["score"])
    capsys.readouterr()
    assert main(f"{search} 3".split()) == 2
    assert "more trials (trials: 2 -> 3) come too late; remove cmp/runs" in capsys.readouterr().err


def test_seeds_must_be_numbers(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "natural", "--data", "digits", "--budget", "1s", "--out", "x", "--seeds", "few"])
    assert "write 0,1,2" in capsys.readouterr().err
