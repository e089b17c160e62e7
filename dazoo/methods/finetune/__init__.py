"""Parameter and feature transfer with a few target labels."""
