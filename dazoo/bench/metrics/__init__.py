"""Target metrics: formulas of plain arrays, and which of them a setting has."""
