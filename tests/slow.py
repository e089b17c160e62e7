"""The recorded losses once more, transcribed from their documentation with loops over rows and classes, in numpy.

Every function takes ``x``, a dict of float64 arrays, and ``at``, the same dict at the point where a gradient is taken:
what carries no gradient (bandwidths, weights, norms) is computed from ``at``. ``gradient`` differentiates numerically.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]
Slow = Callable[[Arrays, Arrays], float]


def gradient(f: Slow, x: Arrays, name: str, step: float) -> np.ndarray:
    """Gradient with respect to ``x[name]`` by sixth-order central differences."""
    result = np.zeros_like(x[name])
    for place in np.ndindex(result.shape):
        total = 0.0
        for k, weight in ((1, 45.0), (2, -9.0), (3, 1.0)):
            for sign in (1, -1):
                moved = x[name].copy()
                moved[place] += sign * k * step
                total += sign * weight * f({**x, name: moved}, x)
        result[place] = total / (60.0 * step)
    return result


def softmax(row: np.ndarray) -> np.ndarray:
    e = [math.exp(v - max(row)) for v in row]
    return np.array([v / sum(e) for v in e])


def row_entropy(p: np.ndarray) -> float:
    return -sum(v * math.log(v + 1e-5) for v in p)


def confidence_weights(rows: list[np.ndarray]) -> list[float]:
    raw = [1.0 + math.exp(-row_entropy(p)) for p in rows]
    return [len(raw) * w / sum(raw) for w in raw]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum((u - v) ** 2 for u, v in zip(a, b, strict=True)))


def bandwidth(x: Arrays) -> float:
    rows = [*x["fs"], *x["ft"]]
    return sum(distance(a, b) for a in rows for b in rows) / len(rows) ** 2


def five(a: np.ndarray, b: np.ndarray, m: float) -> float:
    d = distance(a, b)
    return sum(math.exp(-d / (2.0 * alpha * m)) for alpha in (1 / 8, 1 / 4, 1 / 2, 1, 2))


def quadratic(n: int, k: Callable[[tuple[str, int], tuple[str, int]], float]) -> float:
    total = 2.0 / (n - 1)
    for i in range(n):
        for j in range(n):
            if i != j:
                total += (k(("s", i), ("s", j)) + k(("t", i), ("t", j))) / (n * (n - 1))
            total -= 2.0 * k(("s", i), ("t", j)) / n**2
    return total


def dan_mkmmd(x: Arrays, at: Arrays) -> float:
    m = bandwidth(at)
    return quadratic(len(x["fs"]), lambda a, b: five(x["f" + a[0]][a[1]], x["f" + b[0]][b[1]], m))


def dan_mkmmd_linear(x: Arrays, at: Arrays) -> float:
    m, s, t = bandwidth(at), x["fs"], x["ft"]
    n = len(s)
    total = 2.0 / (n - 1)
    for i in range(n):
        j = (i + 1) % n
        total += (five(s[i], s[j], m) + five(t[i], t[j], m) - five(s[i], t[j], m) - five(s[j], t[i], m)) / n
    return total


def jan_jmmd(x: Arrays, at: Arrays) -> float:
    m = bandwidth(at)

    def k(a: tuple[str, int], b: tuple[str, int]) -> float:
        probs = distance(x["p" + a[0]][a[1]], x["p" + b[0]][b[1]])
        return five(x["f" + a[0]][a[1]], x["f" + b[0]][b[1]], m) * math.exp(-probs / (2.0 * 0.92**2))

    return quadratic(len(x["fs"]), k)


def log_sigmoid(z: float) -> float:
    return math.log(1.0 / (1.0 + math.exp(-z)))


def dann_domain_loss(x: Arrays, at: Arrays) -> float:
    w = x["w"][:, 0]
    source = -sum(log_sigmoid(float(r @ w)) for r in x["fs"]) / len(x["fs"])
    target = -sum(log_sigmoid(-float(r @ w)) for r in x["ft"]) / len(x["ft"])
    return 0.5 * (source + target)


def _conditional(x: Arrays, weighted: bool) -> float:
    probs = [softmax(row) for row in [*x["ls"], *x["lt"]]]
    weights = confidence_weights(probs) if weighted else [1.0] * len(probs)
    features, n, d = [*x["fs"], *x["ft"]], len(x["fs"]), x["fs"].shape[1]
    total = 0.0
    for i, (p, f) in enumerate(zip(probs, features, strict=True)):
        z = sum(p[c] * f[j] * x["wc"][c * d + j, 0] for c in range(len(p)) for j in range(d))
        total -= weights[i] * log_sigmoid(z if i < n else -z)
    return total / len(features)


def cdan(x: Arrays, at: Arrays) -> float:
    return _conditional(x, False)


def cdan_e(x: Arrays, at: Arrays) -> float:
    return _conditional(x, True)


def mcd_discrepancy(x: Arrays, at: Arrays) -> float:
    return sum(abs(a - b) for a, b in zip(x["p1"].ravel(), x["p2"].ravel(), strict=True)) / x["p1"].size


def mdd_margin4(x: Arrays, at: Arrays) -> float:
    total = 0.0
    for y, a in zip(x["y_s"], x["a_s"], strict=True):
        total += 4.0 * math.log(softmax(a)[list(y).index(max(y))])
    for y, a in zip(x["y_t"], x["a_t"], strict=True):
        total += math.log(min(1.0 - softmax(a)[list(y).index(max(y))] + 1e-6, 1.0))
    return total / len(x["y_s"])


def mcc_t25(x: Arrays, at: Arrays) -> float:
    rows = [softmax(row / 2.5) for row in x["l"]]
    weights = confidence_weights([softmax(row / 2.5) for row in at["l"]])
    c = len(rows[0])
    q = [[sum(w * p[a] * p[b] for w, p in zip(weights, rows, strict=True)) for b in range(c)] for a in range(c)]
    return sum(q[a][b] / sum(q[a]) for a in range(c) for b in range(c) if a != b) / c


def afn_delta1(x: Arrays, at: Arrays) -> float:
    pairs = zip(x["f"], at["f"], strict=True)
    return sum((math.dist(f, 0 * f) - (math.dist(g, 0 * g) + 1.0)) ** 2 for f, g in pairs) / len(x["f"])


def bsp(x: Arrays, at: Arrays) -> float:
    # the largest eigenvalue of the smaller Gram matrix
    return float(sum(np.linalg.eigvalsh(f @ f.T if len(f) < f.shape[1] else f.T @ f)[-1] for f in (x["fs"], x["ft"])))


def bss_k1(x: Arrays, at: Arrays) -> float:
    f = x["f"]
    return float(np.linalg.eigvalsh(f @ f.T if len(f) < f.shape[1] else f.T @ f)[0])


def osbp_unknown_bce(x: Arrays, at: Arrays) -> float:
    q = [softmax(row)[-1] for row in x["l"]]
    return -sum(0.5 * math.log(v + 1e-6) + 0.5 * math.log(1.0 - v + 1e-6) for v in q) / len(q)


def entropy_mean(x: Arrays, at: Arrays) -> float:
    return sum(row_entropy(p) for p in x["p"]) / len(x["p"])


def rsd(x: Arrays, at: Arrays) -> float:
    us, ut = (np.linalg.svd(x[name].T, full_matrices=False)[0] for name in ("fs", "ft"))
    ps, cos, pt = np.linalg.svd(us.T @ ut)
    sines = sum(math.sqrt(1.0 - c**2) for c in cos)
    return float(sines + 0.1 * math.sqrt(((np.abs(ps) - np.abs(pt.T)) ** 2).sum()))


def _between(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Covariance over n - 1 of the class means, one per row."""
    mean, total = f.mean(0), np.zeros((f.shape[1], f.shape[1]))
    for c in set(y.tolist()):
        gap = f[y == c].mean(0) - mean
        total += (y == c).sum() * np.outer(gap, gap)
    return total / (len(f) - 1)


def h_score(x: Arrays, at: Arrays) -> float:
    f = x["features"]
    centred = f - f.mean(0)
    covariance = sum(np.outer(r, r) for r in centred) / (len(f) - 1)
    return float(np.trace(np.linalg.solve(covariance, _between(f, x["labels"]))))


def regularized_h_score(x: Arrays, at: Arrays) -> float:
    f = x["features"] - x["features"].mean(0)
    n, d = f.shape
    s = sum(np.outer(r, r) for r in f) / n
    mu = np.trace(s) / d
    spread = ((s - mu * np.eye(d)) ** 2).sum() / d
    noise = sum(((np.outer(r, r) - s) ** 2).sum() for r in f) / d / n**2
    a = min(noise, spread) / spread
    shrunk = (1.0 - a) * s + a * mu * np.eye(d)
    return float((1.0 - a) * np.trace(np.linalg.solve(shrunk, _between(f, x["labels"]))))


def logme(x: Arrays, at: Arrays) -> float:
    f, labels = x["features"], x["labels"]
    n, d = f.shape
    evidences = []
    for c in sorted(set(labels.tolist())):
        y = (labels == c).astype(float)
        alpha = beta = ratio = 1.0
        for _ in range(11):
            precision = alpha * np.eye(d) + beta * f.T @ f
            m = beta * np.linalg.solve(precision, f.T @ y)
            gamma = d - alpha * np.trace(np.linalg.inv(precision))
            alpha, beta = gamma / (m @ m), (n - gamma) / ((y - f @ m) ** 2).sum()
            if abs(alpha / beta - ratio) / ratio < 0.01:
                break
            ratio = alpha / beta
        # the weights and their fit are those of the round, the precisions the updated ones
        precision = alpha * np.eye(d) + beta * f.T @ f
        evidence = d / 2 * math.log(alpha) + n / 2 * math.log(beta) - 0.5 * np.linalg.slogdet(precision)[1]
        evidence -= beta / 2 * ((y - f @ m) ** 2).sum() + alpha / 2 * (m @ m) + n / 2 * math.log(2 * math.pi)
        evidences.append(evidence / n)
    return float(np.mean(evidences))


def transrate(x: Arrays, at: Arrays) -> float:
    f = x["features"] - x["features"].mean(0)

    def rate(z: np.ndarray) -> float:
        return 0.5 * sum(math.log1p(v) for v in np.linalg.svd(z, compute_uv=False) ** 2 / (len(z) * 1e-4))

    classes = sorted(set(x["labels"].tolist()))
    return rate(f) - sum(rate(f[x["labels"] == c]) for c in classes) / len(classes)


def leep(x: Arrays, at: Arrays) -> float:
    p, y = x["predictions"], x["labels"]
    total = 0.0
    for i in range(len(p)):
        inner = 0.0
        for z in range(p.shape[1]):
            same = sum(p[j, z] for j in range(len(p)) if y[j] == y[i])
            inner += p[i, z] * same / sum(p[:, z])
        total += math.log(inner)
    return total / len(p)


def nce(x: Arrays, at: Arrays) -> float:
    pairs = list(zip(x["source_labels"].tolist(), x["labels"].tolist(), strict=True))
    first = [z for z, _ in pairs]
    return sum(math.log(pairs.count(pair) / first.count(pair[0])) for pair in pairs) / len(pairs)


# case -> transcription, input names, names with gradients, and what sets the step of the differences
SLOW: dict[str, tuple[Slow, tuple[str, ...], tuple[str, ...]]] = {
    "dan_mkmmd": (dan_mkmmd, ("fs", "ft"), ("fs", "ft")),
    "dan_mkmmd_linear": (dan_mkmmd_linear, ("fs", "ft"), ("fs", "ft")),
    "jan_jmmd": (jan_jmmd, ("fs", "ft", "ps", "pt"), ("fs", "ft", "ps", "pt")),
    "dann_domain_loss": (dann_domain_loss, ("fs", "ft", "w"), ("fs", "ft", "w")),
    "cdan": (cdan, ("ls", "lt", "fs", "ft", "wc"), ("fs", "ft", "wc")),
    "cdan_e": (cdan_e, ("ls", "lt", "fs", "ft", "wc"), ("fs", "ft", "wc")),
    "mcd_discrepancy": (mcd_discrepancy, ("p1", "p2"), ("p1", "p2")),
    "mdd_margin4": (mdd_margin4, ("y_s", "a_s", "y_t", "a_t"), ("a_s", "a_t")),
    "mcc_T2.5": (mcc_t25, ("l",), ("l",)),
    "afn_delta1": (afn_delta1, ("f",), ("f",)),
    "bsp": (bsp, ("fs", "ft"), ("fs", "ft")),
    "bss_k1": (bss_k1, ("f",), ("f",)),
    "osbp_unknown_bce": (osbp_unknown_bce, ("l",), ("l",)),
    "entropy_mean": (entropy_mean, ("p",), ("p",)),
    "rsd": (rsd, ("fs", "ft"), ("fs", "ft")),
    "h_score": (h_score, ("features", "labels"), ()),
    "regularized_h_score": (regularized_h_score, ("features", "labels"), ()),
    "logme": (logme, ("features", "labels"), ()),
    "transrate": (transrate, ("features", "labels"), ()),
    "leep": (leep, ("predictions", "labels"), ()),
    "nce": (nce, ("source_labels", "labels"), ()),
}


def draw(rng: np.random.Generator, n: int, d: int, c: int, scale: float, rows: int = 60) -> Arrays:
    """Random inputs of every name: n rows per batch, d features times ``scale``, c classes, ``rows`` for scores."""
    labels = np.concatenate([np.arange(c), rng.integers(0, c, rows - c)])
    probs = {name: np.array([softmax(r) for r in rng.normal(size=(n, c))]) for name in ("ps", "pt", "p1", "p2", "p")}
    # keep the absolute difference away from its kink, so that differences can be taken
    probs["p2"] = np.where(np.abs(probs["p2"] - probs["p1"]) < 1e-3, probs["p2"] + 3e-3, probs["p2"])
    return {
        **probs,
        "fs": scale * rng.normal(size=(n, d)),
        "ft": scale * (rng.normal(size=(n, d)) + 0.5),
        "f": scale * rng.normal(size=(n, d)),
        "w": rng.normal(size=(d, 1)) / scale / math.sqrt(d),
        "wc": rng.normal(size=(c * d, 1)) / scale / math.sqrt(d),
        **{name: 2.0 * rng.normal(size=(n, c)) for name in ("ls", "lt", "l", "y_s", "a_s", "y_t", "a_t")},
        "features": scale * (rng.normal(size=(rows, d)) + rng.normal(size=(c, d))[labels]),
        "labels": labels,
        "predictions": np.array([softmax(r) for r in 2.0 * rng.normal(size=(rows, c + 3))]),
        "source_labels": rng.integers(0, c + 3, rows),
    }


def step_of(x: Arrays, name: str, case: str) -> float:
    """A step at which both errors of the differences, of truncation and of rounding, are far below 1e-6.

    RSD has kinks wherever an entry of its rotations is zero, which a long step would straddle.
    """
    if name.startswith("p"):
        return 1e-4
    return (1e-5 if case == "rsd" else 5e-4) * float(np.abs(x[name]).mean())
