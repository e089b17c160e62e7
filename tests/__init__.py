"""Tests of dazoo."""
