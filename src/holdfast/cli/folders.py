"""How the files of runs and evaluations are called, for commands that read them without importing torch."""

METRICS = "metrics.jsonl"  # a training's log, in its run's folder
EVALUATIONS = "evaluations"  # below a run's folder, one folder an evaluation
EVALUATION = "evaluation.json"  # in an evaluation's folder, once it is finished
VERDICTS = "verdicts*.jsonl"  # in an evaluation's folder from its first verdict on, one a process
DIAGNOSTICS = "diagnostics"  # below a run's folder, one folder a look at it
DIAGNOSIS = "diagnostics.json"  # in the folder of one look
