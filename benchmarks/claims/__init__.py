"""The papers' claims one by one, at equal time of training: what is compared, on which terms, and the verdicts."""
