"""Why accuracies differ between libraries: what is counted, tested and measured about a case."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks.peers", reason="needs the repository's root on the path")

from benchmarks.peers import measures, why
from benchmarks.peers.cases import fixed
from benchmarks.peers.measure import Machine, Row, Side
from benchmarks.peers.shallow import PEERS, pair_of
from benchmarks.peers.tables import write
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled

NAN = float("nan")


def _seen(few: bool = False, seed: int = 0) -> tuple[Seen, np.ndarray]:
    """Three overlapping classes in 8 dimensions, the target moved; the target's labels beside."""
    rng = np.random.default_rng(seed)
    y_s, y_t, y_f = np.arange(60) % 3, np.arange(45) % 3, np.arange(9) % 3
    centres = rng.normal(size=(3, 8))

    def draw(y: np.ndarray, shift: float) -> torch.Tensor:
        return torch.from_numpy(centres[y] + shift + rng.normal(size=(len(y), 8)))

    def labelled(y: np.ndarray, shift: float) -> Labeled:
        return Labeled(draw(y, shift), torch.from_numpy(y), torch.zeros(len(y)).long())

    setting = FEW_LABELS if few else UNSUPERVISED
    source, target = labelled(y_s, 0.0), Unlabeled(draw(y_t, 0.5))
    return Seen(source, target, labelled(y_f, 0.5) if few else None, 3, "vector", setting), y_t


def _case(peer: str, name: str):
    (case,) = [c for c in PEERS[peer] if c.name == name]
    return case


def test_counts_are_summed_means_taken_and_ties_tested() -> None:
    pairs = [{"accuracy": (50.0, 60.0), why.ALONE: (1, 7), "objective": (NAN, 2.0)}] * 2
    found = {f.quantity: f for f in why.over_pairs("SURF", "skada", "kmm", pairs)}
    assert (found["accuracy"].dazoo, found["accuracy"].theirs, found[why.ALONE].theirs) == (50.0, 60.0, 14)
    # 2 against 14 of 16 fair coins: 2 (1 + 16 + 120) / 2^16
    assert found[why.TIE].dazoo == pytest.approx(2 * 137 / 2**16)
    assert math.isnan(found["objective"].dazoo) and found["objective"].theirs == 2.0
    assert why.tie(0, 0) == 1.0 and why.tie(3, 3) == pytest.approx(1.0)


def test_findings_survive_the_file_and_reach_the_page(tmp_path: Path) -> None:
    def finding(case: str, value: float) -> why.Finding:
        return why.Finding("SURF", "skada", case, "objective", 4, value, NAN, "skada 1")

    rows, machine = [Row("kmm", "a->b", Side(1.0, 50.0), Side(4.0, 60.0))], Machine({}, "a machine")
    write(tmp_path, "shallow", rows, machine, "about")
    assert "Why accuracies differ" not in (tmp_path / "shallow.md").read_text()
    why.write(tmp_path, [finding("kmm", 0.25), finding("sa", 1.0)])
    why.write(tmp_path, [finding("kmm", 0.125)])
    assert [(f.case, f.dazoo) for f in why.read(tmp_path)] == [("sa", 1.0), ("kmm", 0.125)]
    write(tmp_path, "shallow", rows, machine, "about")
    text = (tmp_path / "shallow.md").read_text()
    assert "| SURF | kmm, skada | 4 | objective | 0.125 | - |" in text and "Frank-Wolfe" in text
    assert text.count("with skada 1.\n") == 1
    write(tmp_path, "deep", rows, machine, "about")
    assert "Why accuracies differ" not in (tmp_path / "deep.md").read_text()


def test_objectives_of_both_sides_are_those_of_one_problem() -> None:
    pytest.importorskip("skada")
    seen, y = _seen()
    pair = pair_of(seen)
    found = measures.mean_matching(_case("skada", "kmm"), seen, pair, y)
    best, rough, longer = (found[k][i] for k, i in (("objective", 0), ("objective", 1), ("objective, 20,000 steps", 1)))
    assert 0 < best < longer < rough and longer - best < 0.1 * (rough - best)
    found = measures.group_lasso(_case("skada", "ot_group_lasso"), seen, pair, y)
    assert found["objective"][0] <= found["objective"][1] + 1e-9 and max(found["relative error of the masses"]) < 1e-3


def test_jdot_is_that_of_the_peer_where_the_loss_is() -> None:
    pytest.importorskip("skada")
    seen, y = _seen()
    case = _case("skada", "jdot")
    assert list(measures.same_loss(case, seen, pair_of(seen), y).values()) == [(0, 0)]


def test_components_are_held_against_the_peers_equation() -> None:
    pytest.importorskip("skada")
    seen, y = _seen()
    case = dataclasses.replace(_case("skada", "tca"), hparams=fixed(dim=3, mu=1.0))
    own, peers = measures.pencil(case, seen, pair_of(seen), y)["residual of the components"]
    assert own < 1e-10 and peers > 1e-3
    v = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0]
    assert measures.residual(v * [2.0, 3.0], v, v) < 1e-12 < 0.1 < measures.residual(v[::-1], v, v)


def test_rounds_written_out_follow_from_their_losses() -> None:
    """By classes, with the labels fitted, no weight moves; with probabilities the answers move."""
    wide = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 300)))
    moved = np.zeros(2, dtype=int)
    for seed in range(3):
        seen, _ = _seen(few=True, seed=seed)
        source, few = (dataclasses.replace(part, x=torch.relu(part.x @ wide)) for part in (seen.source, seen.few))
        source = dataclasses.replace(source, y=torch.where(torch.arange(60) % 4 > 0, source.y, (source.y + 1) % 3))
        target = Unlabeled(torch.relu(seen.target.x @ wide))
        pair = pair_of(dataclasses.replace(seen, source=source, few=few, target=target))
        x, labels = np.concatenate([pair.xs, pair.fx]), np.concatenate([pair.ys, pair.fy])
        pooled = measures.ridge().fit(x, labels)
        alone = pooled.predict(pair.xt)
        assert (pooled.predict(x) == labels).all()
        assert (measures.boosted(pair, 4, soft=0, samme=0) == alone).all()
        moved += [int((measures.boosted(pair, 4, soft=1, samme=samme) != alone).sum()) for samme in (0, 1)]
    assert (moved > 0).all(), moved


def test_held_out_objective_of_a_constant_ratio() -> None:
    """Wide kernels and a small ridge give r = 1 everywhere, whose objective is 1/2 - 1."""
    seen, _ = _seen()
    assert measures.held_out(pair_of(seen), 0.5, 1e-9, 1e-3) == pytest.approx(-0.5, abs=1e-3)
    assert measures.held_out(pair_of(seen), 0.5, 10.0, 1e-3) > -0.4
