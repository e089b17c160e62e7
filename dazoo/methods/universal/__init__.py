"""Methods for domains of which either may have classes of its own."""
