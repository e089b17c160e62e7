"""One file per backbone; the stem is the registry name."""
