"""Methods that tell several targets apart, or look for them in one pool."""
