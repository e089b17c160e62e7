"""Running class centroids of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dazoo.ops.classwise import class_means, moving_means


class Centroids(nn.Module):
    """Moving averages of class means, kept like the statistics of batch normalisation.

        mu_c <- decay mu_c + (1 - decay) sum_i w_ic f_i / sum_i w_ic    for the classes that the batch holds

    The returned centroids carry the gradient of this batch's features; the stored ones none. They start at zero.
    """

    def __init__(self, n_classes: int, width: int):
        super().__init__()
        self.mu: Tensor
        self.register_buffer("mu", torch.zeros(n_classes, width))

    def forward(self, f: Tensor, w: Tensor, decay: float | Tensor, fade: bool = False) -> Tensor:
        """Centroids (C, d) moved by features f (n, d) of class weights w (n, C); stored in training mode.

        With ``fade`` a class that the batch lacks moves too, towards zero.
        """
        new, present = class_means(f, w)
        if fade:
            present = torch.ones_like(present)
        moved = moving_means(self.mu, new, present, decay)
        if self.training:
            with torch.no_grad():
                self.mu.copy_(moved)
        return moved
