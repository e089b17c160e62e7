"""Information maximisation without the belief that all classes are equally frequent in the target.

    V = - KL(mean_i p_i || q) - mean_i H(p_i),     q = EM estimate of the target's class shares

p_i (C,) are the target's probabilities. q is the fixed point of q_c <- mean_i [p_ic q_c / s_c] / sum_k [p_ik q_k / s_k]
from the source's shares s. With q uniform it is info_max up to a constant. Where the target lacks classes, a model is
not punished for leaving them out; one that collapses onto few classes is not punished either, as far as EM believes it.
Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori Probabilities. Neural Computation,
2002. https://doi.org/10.1162/089976602753284446
"""

from __future__ import annotations

import torch
from torch import Tensor

from dazoo.validators.base import register_validator


@register_validator(labels=("partial", "shifted"))
def info_max_prior(target_probs: Tensor, source_labels: Tensor) -> Tensor:
    """Confidence, minus the distance of the mean prediction from the class shares that EM estimates, in nats."""
    share = torch.bincount(source_labels, minlength=target_probs.shape[1]).to(target_probs)
    share = (share / share.sum()).clamp_min(1e-12)
    q = share
    for _ in range(100):
        posterior = target_probs * (q / share)
        step = (posterior / posterior.sum(1, keepdim=True).clamp_min(1e-300)).mean(0)
        moved, q = float((step - q).abs().sum()), step
        if moved < 1e-6:
            break
    mean = target_probs.mean(0)
    far = (torch.special.xlogy(mean, mean) - torch.special.xlogy(mean, q.clamp_min(1e-12))).sum()
    return torch.special.xlogy(target_probs, target_probs).sum(1).mean() - far
