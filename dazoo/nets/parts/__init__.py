"""Pieces of networks that methods build from."""
