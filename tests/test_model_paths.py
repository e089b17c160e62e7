"""Classes that models of 0.1.0 name are found wherever they are now."""

from __future__ import annotations

import pytest

from dazoo.core.portable import MOVED, Portable, _find_class
from dazoo.methods.base import METHODS

NAMES = """
dazoo.engine.predictor:NetPredictor dazoo.engine.predictor:ShallowPredictor
dazoo.methods.parameter_transfer._trees:Forest dazoo.methods.parameter_transfer.linear_interpolation:Mixture
dazoo.methods.parameter_transfer.prediction_feature:Predicted dazoo.methods.reweighting._boost:Committee
dazoo.methods.reweighting._boost:WeightedMedian dazoo.methods.reweighting._label_shift:PriorCorrected
dazoo.methods.steps:Affine dazoo.methods.steps:Append dazoo.methods.steps:AsScores dazoo.methods.steps:Center
dazoo.methods.steps:CentreScores dazoo.methods.steps:Columns dazoo.methods.steps:Copies
dazoo.methods.steps:KernelMap dazoo.methods.steps:LinearScores dazoo.methods.steps:NearestNeighbors
dazoo.methods.steps:NearestScores dazoo.methods.steps:NearestShift dazoo.methods.steps:PairwiseVotes
dazoo.methods.steps:Pipeline dazoo.methods.steps:Standardise dazoo.methods.steps:StepsThenHead
dazoo.methods.steps:Tanh dazoo.methods.steps:UnitNorm dazoo.methods.subspace.spl:PrototypeScores
dazoo.methods.transport.sot:ComponentScores
"""
RELEASED = NAMES.split()


@pytest.mark.parametrize("path", RELEASED)
def test_a_released_class_is_found(path):
    METHODS.discover()
    module, _, name = path.partition(":")
    found = _find_class(f"{MOVED.get(module, module)}:{name}")
    assert issubclass(found, Portable) and found.__name__ == name
