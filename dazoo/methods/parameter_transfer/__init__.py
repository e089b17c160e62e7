"""Parameter transfer for shallow models: a model of the source is the prior, the start or a feature of the target's.

All methods here learn from few labelled target samples.
"""
