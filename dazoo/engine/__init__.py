"""Layer 5: recipes, the one training loop, and the one dispatch between families of methods."""
