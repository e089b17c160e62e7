"""Layer 1: pure tensor functions. No modules, no state, no ``.item()``, no data-dependent shapes."""
