"""Optimal-transport methods on vectors. The solvers come from POT; no training loops."""
