"""Deep methods that match moments or kernel embeddings."""
