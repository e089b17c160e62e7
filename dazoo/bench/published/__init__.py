"""Published tables, and how far ours are from them."""
