"""Deep methods that give each domain its own normalisation."""
