"""What transcriptions of losses share: the terms of a method, and predictions and losses in loops."""

from __future__ import annotations

import math

import numpy as np

from dazoo.methods.base import create_method
from tests.small import at, small_batch, small_net


def probs(net, x):
    """Softmax predictions as numpy, by exponentials."""
    e = np.exp(net.head(net.body(x)).detach().numpy())
    return e / e.sum(1, keepdims=True)


def nll(p, y):
    return [-math.log(p[i][y[i]]) for i in range(len(p))]


def terms(name, fraction=0.5, net=None, batch=None, **hparams):
    method = create_method(name, **hparams)
    net, batch = net or small_net(method), batch or small_batch()
    out = method.losses(net, batch, at(fraction))
    return {k: v.detach() for k, v in out.items()}, net, batch
