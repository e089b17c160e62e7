"""SPL against its eigenproblem on explicit graph matrices and against a transcription of its rounds."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from dazoo.core.memo import Memo
from dazoo.core.setting import FEW_LABELS, UNSUPERVISED
from dazoo.core.types import Labeled, Seen, Unlabeled
from dazoo.methods.base import Context, create_method
from dazoo.methods.subspace.spl import projection, prototypes, select
from dazoo.shallow.classifiers import classifier
from tests.test_subspace import same_up_to_sign


def context() -> Context:
    return Context(torch.Generator().manual_seed(0), classifier("1nn"), Memo())


def digits(n_classes: int = 5, few: int = 0) -> tuple[Seen, np.ndarray]:
    """Odd rows of scikit-learn's digits as the source, even rows with a shifted contrast as the target."""
    x, y = load_digits(return_X_y=True)
    x, y = x[y < n_classes][:400], y[y < n_classes][:400]
    xs, ys = torch.from_numpy(x[1::2]), torch.from_numpy(y[1::2])
    xt, yt = torch.from_numpy(np.sqrt(x[::2]) + 0.5), torch.from_numpy(y[::2])
    source = Labeled(xs, ys, torch.zeros(len(xs), dtype=torch.int64))
    shown = Labeled(xt[:few], yt[:few], torch.zeros(few, dtype=torch.int64)) if few else None
    setting = FEW_LABELS if few else UNSUPERVISED
    return Seen(source, Unlabeled(xt[few:]), shown, n_classes, "vector", setting), yt[few:].numpy()


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def graph_projection(x, y, k):
    """The pencil (X'DX, X'LX + I) with the graph W written out."""
    w = ((y[:, None] == y) & (y[:, None] >= 0)).astype(float)
    d = np.diag(w.sum(1))
    return scipy.linalg.eigh(x.T @ d @ x, x.T @ (d - w) @ x + np.eye(x.shape[1]))[1][:, ::-1][:, :k]


def test_the_projection_solves_the_pencil_of_the_graph():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 7)), np.arange(60) % 4 - 1  # a quarter has no label
    mine = projection(torch.from_numpy(x), torch.from_numpy(y), torch.arange(3), 4).numpy()
    assert same_up_to_sign(mine, graph_projection(x, y, 4))


def test_rounds_equal_a_transcription():
    """The paper's algorithm line by line, samples in columns of numpy, graphs and soft labels written out."""
    seen, _ = digits()
    xs, xt, ys = seen.source.x.numpy(), seen.target.x.numpy(), seen.source.y.numpy()
    rounds, c = 4, 5
    both = unit(np.concatenate([xs, xt]))
    directions = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:20].T
    x = unit(both @ directions)
    y = np.concatenate([ys, np.full(len(xt), -1)])
    for k in range(1, rounds + 2):
        z = x @ graph_projection(x, y, 8)
        z = unit(z - z.mean(0))
        zs, zt = z[: len(xs)], z[len(xs) :]
        means = unit(np.stack([zs[ys == j].mean(0) for j in range(c)]))
        centres = unit(KMeans(c, init=means, n_init=1).fit(zt).cluster_centers_)
        centres = centres[linear_sum_assignment(cdist(means, centres))[1]]
        p = [np.exp(-cdist(zt, m)) / np.exp(-cdist(zt, m)).sum(1, keepdims=True) for m in (means, centres)]
        p = np.maximum(*p)
        label, sure = p.argmax(1), p.max(1)
        chosen = np.full(len(xt), -1)
        for j in range(c):
            rows = np.flatnonzero(label == j)
            take = rows[np.argsort(-sure[rows], kind="stable")][: int(len(rows) * k / rounds + 1e-9)]
            chosen[take] = j
        y = np.concatenate([ys, chosen])
    model = create_method("spl", dim=20, components=8, rounds=rounds).fit(seen, context())
    assert np.allclose(model.predict(seen.target.x).scores.exp().numpy(), p, atol=1e-6)


def test_pseudo_labels_are_the_surest_share_of_each_class():
    scores = torch.log(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.2, 0.8], [0.45, 0.55]]))
    assert select(scores, 0.5).tolist() == [0, -1, -1, 0, 1, -1]
    assert select(scores, 1.0).tolist() == [0, 0, 0, 0, 1, 1]


def test_clusters_are_matched_one_to_one():
    """Two clusters nearest to the same class still go to two classes."""
    z, y = torch.eye(3, dtype=torch.float64)[:2], torch.tensor([0, 1])
    target = torch.tensor([[0.0, 1.0, 0.1], [0.0, 1.0, 0.1], [0.0, 0.3, 1.0], [0.0, 0.3, 1.0]], dtype=torch.float64)
    head = prototypes(z, y, target, torch.arange(2), 2)
    assert sorted(head.target.argmax(1).tolist()) == [1, 2]


def test_it_adapts_and_uses_few_labels():
    seen, truth = digits()
    labels = create_method("spl").fit(seen, context()).predict(seen.target.x).scores.argmax(1).numpy()
    assert (labels == truth).mean() > 0.9
    seen, truth = digits(few=10)
    labels = create_method("spl").fit(seen, context()).predict(seen.target.x).scores.argmax(1).numpy()
    assert (labels == truth).mean() > 0.9


def test_fewer_target_samples_than_classes_and_a_missing_class():
    seen, _ = digits()
    keep = seen.source.y != 3
    source = Labeled(seen.source.x[keep], seen.source.y[keep], seen.source.domain[keep])
    small = Seen(source, Unlabeled(seen.target.x[:2]), None, 5, "vector", UNSUPERVISED)
    scores = create_method("spl").fit(small, context()).predict(seen.target.x).scores
    assert torch.isfinite(scores).all() and (scores.argmax(1) != 3).all()
