"""Quantification: class shares of the target, which also correct the classifier's answers.

All assume label shift: p(y) changes, p(x|y) does not. ``bbse``, ``rlls``, ``mmd_target_shift`` and ``em_prior`` of the
family ``reweighting`` estimate shares, too.
"""
