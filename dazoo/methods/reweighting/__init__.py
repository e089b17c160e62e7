"""Instance reweighting: weights of the source samples by density ratios, discrepancies, label shift or boosting.

Most files only compute weights; the suite's classifier is then fitted on the weighted source (``methods.shallow``).
"""
