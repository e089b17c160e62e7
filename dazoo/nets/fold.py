"""Batch normalisation with fixed statistics, folded into the convolution before it: one layer less, the same function.

    y = gamma (W * x + b - mean) / sqrt(var + eps) + beta  =  (gamma / sqrt(var + eps) W) * x + ...

to rounding, for layers that do not learn and whose statistics do not move.
"""

from __future__ import annotations

import copy
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(net: nn.Module) -> nn.Module:
    """A copy of ``net`` in which batch normalisations right after a convolution are folded into it.

    A layer counts as right after another where both are children of one module and so registered; that of timm's
    networks holds what their own forward passes do. An activation that timm keeps inside a normalisation stays.
    """
    twin = copy.deepcopy(net)
    for parent in list(twin.modules()):
        names = list(parent._modules)
        for first, second in pairwise(names):
            conv, norm = parent._modules[first], parent._modules[second]
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            norm.eval()
            parent._modules[first] = fuse_conv_bn_eval(conv.eval(), norm)
            after = [m for name in ("drop", "act") if isinstance(m := getattr(norm, name, None), nn.Module)]
            parent._modules[second] = nn.Sequential(*after) if after else nn.Identity()
    return twin
