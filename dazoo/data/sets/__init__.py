"""One file per dataset family; each ends with ``register_dataset(Dataset(...))`` and its stem is the name."""
