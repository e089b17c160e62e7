"""Deep methods that learn from their own target predictions."""
