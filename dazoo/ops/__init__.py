"""Layer 1: pure tensor functions. No modules, no state, no ``.item()``, no data-dependent shapes.

A loss takes features (n, d), probabilities or logits (n, C) and returns a 0-d tensor that autograd can follow; it runs
under ``torch.func.vmap``. Modules, random state, data loading and anything that knows a method stay out. Two files
are exceptions: ``scores``, numbers that rank models, computed in float64 without gradients; and the plans of
``transport``, which come from a solver on the CPU.
"""
