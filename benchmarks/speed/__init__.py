"""How fast Holdfast trains and measures, beside the floor and beside its peers; `python -m benchmarks.speed --help`."""
