"""Batch normalisations folded into convolutions: the same function, one layer less."""

from __future__ import annotations

import torch
from torch import nn

from dazoo.nets.fold import folded
from dazoo.nets.lookup import get_backbone


def moved(net: nn.Module) -> nn.Module:
    """With statistics, scales and shifts that are not those of a fresh layer."""
    gen = torch.Generator().manual_seed(0)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            for v in (m.running_mean, m.running_var, m.weight.data, m.bias.data):
                v.copy_(torch.rand(v.shape, generator=gen) + 0.5)
    return net.eval().requires_grad_(False)


def test_folding_leaves_the_function_and_the_original() -> None:
    torch.manual_seed(0)
    # the second normalisation follows an activation, so that nothing can take it in
    net = moved(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x, twin = torch.randn(2, 3, 8, 8), folded(net)
    assert torch.allclose(twin(x), net(x), atol=1e-5)
    assert [type(m) for m in twin] == [nn.Conv2d, nn.Identity, nn.ReLU, nn.BatchNorm2d, nn.Conv2d]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_activations_that_timm_keeps_in_a_normalisation_stay() -> None:
    torch.manual_seed(0)
    net = moved(get_backbone("mobilenetv3_small_050").make((32, 32, 3), pretrained=False, image_size=32))
    x, twin = torch.randn(2, 3, 32, 32), folded(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in twin.modules())
    assert torch.allclose(twin(x), net(x), atol=1e-4 * float(net(x).abs().max()))
