"""Layer 7: the command line, a file per group of commands. ``main`` is the entry point."""

from dazoo.cli.commands import app, main

__all__ = ["app", "main"]
