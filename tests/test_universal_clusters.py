"""Labels from clusters of the target, against transcriptions in loops and on data whose clusters are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from dazoo.methods.universal import _clusters as clusters
from dazoo.methods.universal.lead import TAIL, decomposed_labels, known_basis, parts
from tests.small import draw


def blobs(centres: torch.Tensor, n: int, spread: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features (n k, d) around centres (k, d), and whose they are."""
    code = torch.arange(len(centres)).repeat_interleave(n)
    return normalize(centres[code] + spread * draw(len(code), centres.shape[1], seed=seed), dim=-1), code


def test_the_number_of_clusters_is_found():
    f, _ = blobs(torch.eye(9, dtype=torch.float64)[:6], 20)
    assert clusters.best_number(f, 3, (0.25, 0.5, 1.0, 2.0, 3.0)) == 6


def test_one_versus_all_labels_are_a_transcription():
    f, code = blobs(torch.eye(8, dtype=torch.float64)[:5], 10, spread=0.2)
    p = (6 * f[:, :3] + 0.1 * draw(50, 3)).softmax(1)
    found = clusters.one_vs_all_labels(f, p, 5, 0.75)
    common, _ = clusters.kmeans(f, 5)
    top = [p[:, c].argsort(descending=True)[:10] for c in range(3)]
    prototypes = torch.stack([normalize(f[rows].mean(0), dim=0) for rows in top])
    expected = []
    for i in range(50):
        c = int((prototypes @ f[i]).argmax())
        rest = [j for j in range(50) if j not in top[c].tolist()]
        centres = normalize(clusters.kmeans(f[rest], 5, common)[0], dim=1)
        factor = 0.75 + 0.25 * p[top[c], c].mean()
        expected.append(c if factor * (prototypes[c] @ f[i]) >= (centres @ f[i]).max() else 3)
    assert found.tolist() == expected
    assert (found[code < 3] == code[code < 3]).float().mean() > 0.8 and (found[code >= 3] == 3).float().mean() > 0.8


def test_soft_labels_are_one_class_or_all():
    y = clusters.soft_labels(torch.tensor([1, 3]), torch.zeros(2, 3))
    torch.testing.assert_close(y, torch.tensor([[0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]]))


def test_labels_and_weights_of_lead_are_a_transcription():
    f, w = normalize(draw(40, 9), dim=-1), draw(3, 9, seed=1)
    p = (f @ w.T * 3).softmax(1)
    basis = known_basis(w)
    label, weight = decomposed_labels(f, p, w, basis, 4)
    u = [float((row - basis @ (basis.T @ row)).norm()) for row in f]
    top = [p[:, c].argsort(descending=True)[:10] for c in range(3)]
    high = clusters.two_gaussians(torch.tensor(u, dtype=torch.float64))
    for i in range(40):
        scores = []
        for c in range(3):
            v = f[top[c]].mean(0)
            t = max(0.0, float(f[i] @ v / v.norm()))
            s = max(0.0, float(f[i] @ w[c] / w[c].norm()))
            scores.append(float(np.sqrt((1 - np.exp(-t)) * np.exp(s - 1))))
        c = int(np.argmax(scores))
        prior = np.mean([u[j] for j in top[c].tolist()])
        bound = prior + scores[c] * max(0.0, high - prior)
        sure = 1 - (1 + (u[i] - bound) ** 2 / TAIL) ** (-(TAIL + 1) / 2)
        assert weight[i].item() == pytest.approx(1.0 if u[i] >= high or u[i] < prior else sure, abs=1e-9)
        assert label[i].item() == (3 if u[i] >= bound else c)


@pytest.mark.parametrize("shape", [(3, 9), (6, 4)])
def test_parts_are_orthogonal_and_something_is_unknown(shape):
    w, f = draw(*shape), normalize(draw(20, shape[1], seed=2), dim=-1)
    inside, outside = parts(f, known_basis(w))
    torch.testing.assert_close(inside.square() + outside.square(), torch.ones_like(inside))
    assert (outside > 0).all()
    if shape[0] < shape[1]:
        assert parts(normalize(w, dim=-1), known_basis(w))[1].max() < 1e-12


def test_clusters_agree_with_classes_where_both_are_and_are_private_where_not():
    eye = torch.eye(9, dtype=torch.float64)
    fs, ys = blobs(eye[:4], 15)
    ft, code = blobs(eye[[0, 1, 2, 6, 7]], 15, seed=3)
    centres, cluster, owner = clusters.consensus_clusters(fs, ys, ft, 4)
    assert len(centres) >= 4
    found = owner[cluster]
    assert (found[code < 3] == code[code < 3]).all() and (found[code >= 3] == -1).all()
    assert 3 not in owner.tolist()  # a class of the source alone


def test_few_distinct_rows_make_few_clusters():
    centres, code = clusters.kmeans(torch.ones(6, 3), 4)
    assert len(centres) == 1 and code.tolist() == [0] * 6
    assert clusters.two_gaussians(torch.full((5,), 0.5)) == pytest.approx(0.5)
