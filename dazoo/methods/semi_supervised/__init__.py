"""Methods that learn from the source, all unlabelled and a few labelled target samples."""
