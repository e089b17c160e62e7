"""Deep methods that move one domain onto the other by optimal transport: mini-batch plans, slices and critics."""
