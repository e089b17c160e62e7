"""Methods for a source and a target with different features."""
