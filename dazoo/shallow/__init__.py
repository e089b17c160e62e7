"""Layer 3: the pieces of shallow models, steps and classifiers: what ``nets`` is for networks."""
