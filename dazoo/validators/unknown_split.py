"""How clearly the samples fall into known and unknown ones.

    V = max_t  w0(t) w1(t) (m0(t) - m1(t))^2 / var(u)

for the scores u (n,) of being unknown, with w0, m0 share and mean of those at most t, w1, m1 of the others: the share
of the variance that lies between the two groups of the best split, in [0, 1], whatever the scale of u. Otsu: A
Threshold Selection Method from Gray-Level Histograms. IEEE Transactions on Systems, Man, and Cybernetics, 1979.
https://doi.org/10.1109/TSMC.1979.4310076
"""

from __future__ import annotations

from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("open", "universal"))
def unknown_split(target_unknown: Tensor) -> float | None:
    """Share of the variance of the unknown scores that lies between the two groups of their best split."""
    u = target_unknown.sort().values
    n, spread = len(u), float(u.var(correction=0))
    if n < 2 or spread <= 0:
        return None
    low = u.cumsum(0)[:-1]
    k = u.new_tensor(range(1, n))
    gap = low / k - (u.sum() - low) / (n - k)
    between = k * (n - k) / n**2 * gap.square()
    return float(between[u[:-1] < u[1:]].max()) / spread
