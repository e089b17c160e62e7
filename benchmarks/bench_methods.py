"""Time of one training step of every gradient method and of one fit of every shallow method, on small digits.

A method's time is that of its own losses on top of the network all share: 64 inputs, an MLP, a bottleneck of 64,
batches of 32 per domain. Whatever the registry holds is measured; nothing is listed here.
"""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from dazoo.core.errors import DazooError
from dazoo.core.setting import Setting
from dazoo.core.types import Seen
from dazoo.data.registry import load_task
from dazoo.engine.feed import Feed
from dazoo.engine.fit import Options, fit, net_spec
from dazoo.engine.member import Member
from dazoo.engine.prepare import preparer
from dazoo.engine.recipe import Recipe
from dazoo.engine.train import Loop
from dazoo.methods.base import METHODS, GradientMethod, Method, ShallowMethod, create_method
from dazoo.nets.net import build_net
from dazoo.shallow.classifiers import classifier

torch.set_num_threads(1)
STEPS = 10  # per measurement; the reported time is that of all ten
GRADIENT = [name for name, cls in METHODS.items() if issubclass(cls, GradientMethod)]
SHALLOW = [name for name, cls in METHODS.items() if issubclass(cls, ShallowMethod)]


@lru_cache(maxsize=8)
def seen_in(setting: Setting) -> Seen:
    several = setting is Setting.MULTI_SOURCE
    return load_task("digits/upright+noisy->rotated" if several else "digits/upright->rotated", setting=setting).seen()


def seen_for(cls: type[Method]) -> Seen:
    """Data of the first setting that a method runs in."""
    if Setting.UNSUPERVISED in cls.settings:
        return seen_in(Setting.UNSUPERVISED)
    return seen_in(sorted(cls.settings, key=lambda s: s.value)[0])


@pytest.mark.parametrize("name", GRADIENT)
def test_ten_training_steps(benchmark: BenchmarkFixture, name: str) -> None:
    cls = METHODS.get(name)
    if "classes" not in cls.targets:
        pytest.skip("predicts values; digits are classes")
    method, recipe = create_method(name), Recipe.named("digits", steps=STEPS)
    assert isinstance(method, GradientMethod)
    seen, device = seen_for(cls), torch.device("cpu")
    spec = net_spec(seen, recipe, Options(recipe=recipe, backbone="mlp"))
    net = build_net(spec, 0, method.build)
    method.setup(net)
    prepare = preparer(spec, "none", True)
    member = Member(method, net, Feed(seen, method, prepare, recipe.batch, 0, device), prepare)
    loop = Loop([member], recipe, STEPS, device)

    def more() -> None:
        loop.step = 0
        loop.run()

    benchmark.group = "ten training steps"
    benchmark.pedantic(more, rounds=5, warmup_rounds=1)
    benchmark.extra_info["family"] = cls.family


@pytest.mark.parametrize("name", SHALLOW)
def test_shallow_fit(benchmark: BenchmarkFixture, name: str) -> None:
    cls = METHODS.get(name)
    if "classes" not in cls.targets:
        pytest.skip("predicts values; digits are classes")
    seen, options = seen_for(cls), Options(classifier=classifier("1nn"))
    try:
        benchmark.group = "one shallow fit"
        benchmark.pedantic(lambda: fit(create_method(name), seen, options=options), rounds=3, warmup_rounds=1)
    except DazooError as error:
        pytest.skip(f"does not run on this task: {error}")
    benchmark.extra_info["family"] = cls.family
