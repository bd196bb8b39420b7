"""Train a robust classifier on built-in digits, attack it, and write the report; a minute on a laptop.

python examples/train_and_evaluate.py epochs=10 method.global_component.beta=3
"""

import sys
from pathlib import Path

from holdfast import evaluate, protocol, train
from holdfast.recipe.override import override
from holdfast.recipes import recipe
from holdfast.report import write

chosen = override(recipe("digits", "atlas"), sys.argv[1:])
run = train(chosen, Path("runs/example"), resume=True)  # goes on if it was stopped
images, threat = chosen.data.load("test"), chosen.threat
evaluation = evaluate(run.load("best"), images, threat, protocol("quick", threat), n=100, run=str(run.folder))
print("clean", evaluation.verdicts.clean_accuracy, "robust", evaluation.verdicts.worst_case.interval())
print(write([evaluation], {str(run.folder): run.history}, Path("report.html")))
