"""Encoders: what makes numbers of texts, tables, recordings and series, one file each."""
