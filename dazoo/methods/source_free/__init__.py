"""Methods that adapt a source model with target samples alone."""
