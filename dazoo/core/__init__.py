"""Layer 0: names, hyper-parameters, papers, settings and the data types every layer shares.

Nothing in here imports another dazoo package, and nothing in here does any learning.
"""
