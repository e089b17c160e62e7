"""Subspace, kernel and feature-mapping methods: closed forms and eigenproblems on vectors. No training loops."""
