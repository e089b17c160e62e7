"""A deployable model out: the best adapted model for unlabelled data, chosen without target labels."""

from dazoo.adaptation.drift import drift as drift
from dazoo.adaptation.predict import load_model as load_model
from dazoo.adaptation.run import Adaptation as Adaptation
from dazoo.adaptation.run import adapt as adapt
