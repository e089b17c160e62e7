"""Records on disk: the lines of runs, kept outputs, sizes, claims. Knows nothing of suites."""
