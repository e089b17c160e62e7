"""Baselines: no adaptation, and the upper bound."""
