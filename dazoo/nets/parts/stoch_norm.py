"""Batch normalisation that draws, channel by channel, between batch and moving statistics."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class StochNorm(_BatchNorm):
    """In training z_c = (1 - s_c) z_c(moving) + s_c z_c(batch), s_c ~ Bernoulli(p), then the usual affine map.

    x (n, C, ...) -> the same shape. In evaluation, and for p = 1, plain batch normalisation; its parameters and buffers
    have the same names, and the moving statistics are updated as usual after use. Draws come from torch's global
    generator. Kou et al., NeurIPS 2020.
    """

    p: float = 0.5

    def _check_input_dim(self, input: Tensor) -> None:  # any number of trailing dimensions
        return

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        shape = [1, -1] + [1] * (x.ndim - 2)
        moving = F.batch_norm(x, self.running_mean.clone(), self.running_var.clone(), training=False, eps=self.eps)
        drawn = (torch.rand(self.num_features, device=x.device) >= 1.0 - self.p).to(x.dtype).view(shape)
        plain = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            training=True,
            momentum=0.1 if self.momentum is None else self.momentum,
            eps=self.eps,
        )
        out = (1.0 - drawn) * moving + drawn * plain
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out


def stochastic(module: nn.Module, p: float) -> None:
    """Put ``StochNorm`` in the place of every batch normalisation below ``module``, with its parameters and buffers."""
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm) and child.running_mean is not None:
            like: dict[str, Any] = {"device": child.running_mean.device, "dtype": child.running_mean.dtype}
            new = StochNorm(child.num_features, child.eps, child.momentum, child.affine, **like)
            new.load_state_dict(child.state_dict())
            new.p = p
            setattr(module, name, new.train(child.training))
        else:
            stochastic(child, p)
