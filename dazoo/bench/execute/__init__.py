"""Running: tasks, one run, groups of runs, worker processes, scores added later."""
