"""The command ``new-method``: a file with a small method that runs as it is."""

from __future__ import annotations

import datetime
import keyword
import re
from pathlib import Path

from dazoo.core.errors import DazooError, UnknownName, nearest

GRADIENT = '''"""TITLE: match the means of the domains. Your Name, {year}.

    min_{{F,C}}  CE(C(F(x_s)), y_s) + trade_off * || mean_i F(x_s,i) - mean_j F(x_t,j) ||^2

F(x) (width,) are features, C(F(x)) (C,) class scores, x_s source and x_t target samples. Replace the second term by
yours, here and in ``losses``; every named term of the dictionary is added and shown as a learning curve.

Evidence: `dazoo check {file}:{title}`. Name the tests that compare ``losses`` with a transcription of the formula.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.methods.base import Batch, GradientMethod, Progress, register


@register
class {title}(GradientMethod):
    """One line that says what the method does."""

    family = "{family}"
    paper = Paper(
        title="Title of the paper", authors="Your Name", year={year}, url="https://example.org/paper",
        deviations="none known",
    )  # fmt: skip
    handles = Handles(n_sources={{"one", "many"}})
    targets = frozenset({{"classes", "values"}})

    trade_off: float = hp(1.0, 0.1, 10.0, log=True, help="weight of the distance of the means")

    def losses(self, net: Any, b: Batch, t: Progress) -> dict[str, Tensor]:
        fs, ft = net.features(b.xs, b.xt)  # (b, width) each
        means = (fs.mean(0) - ft.mean(0)).square().sum()
        return {{"cls": net.criterion(net.head(fs), b.ys), "means": self.trade_off * means}}
'''

SHALLOW = '''"""TITLE: move the source's mean towards the target's. Your Name, {year}.

    z_s = x_s + amount * (m_t - m_s),      z_t = x_t

m_s and m_t (d,) are the means of the source samples x_s (n_s, d) and of the target samples x_t (n_t, d). The suite's
classifier is trained on z_s. Replace the map by yours, here and in ``align``.

Evidence: `dazoo check {file}:{title}`. Name the tests that compare ``align`` with a transcription of the formula.
"""

from __future__ import annotations

from dazoo.core.handles import Handles
from dazoo.core.hparam import hp
from dazoo.core.paper import Paper
from dazoo.core.types import Seen
from dazoo.methods.base import Context, register
from dazoo.methods.shallow import Aligned, FeatureMap, pair
from dazoo.shallow.steps import Center


@register
class {title}(FeatureMap):
    """One line that says what the method does."""

    family = "{family}"
    paper = Paper(
        title="Title of the paper", authors="Your Name", year={year}, url="https://example.org/paper",
        deviations="none known",
    )  # fmt: skip
    handles = Handles(marked={{"none", "few"}})
    targets = frozenset({{"classes", "values"}})

    amount: float = hp(1.0, 0.1, 1.0, help="share of the way to the target's mean")

    def align(self, seen: Seen, ctx: Context) -> Aligned:
        """The moved source, and the step that moves further source samples."""
        xs, xt = pair(seen)  # float64 (n_s, d), (n_t, d)
        move = Center(self.amount * (xs.mean(0) - xt.mean(0)))
        return Aligned(move(xs), target_steps=(), source_steps=(move,))
'''

TEMPLATES = {"gradient": GRADIENT, "shallow": SHALLOW}


def new_method(name: str, family: str, kind: str, out: Path) -> Path:
    """Write the file and return its path.

    Raises:
        DazooError: a name that is no lower_snake word or is taken, an unknown family, or a file that is there already.
    """
    for what, word in (("method", name), ("family", family)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
            raise DazooError(f"a {what} is named in lower_snake letters and digits, e.g. my_method, not {word!r}")
    from dazoo.methods.base import METHODS

    path = out / f"{name}.py"
    if path.exists():
        raise DazooError(f"{path} is there already and is left as it is; choose another name or folder")
    families = {cls.family for _, cls in METHODS.items()} | {"custom"}
    if family not in families:
        raise UnknownName(
            f"unknown family {family!r}: {nearest(family, families)} Families are {', '.join(sorted(families))}; "
            "custom is for whatever fits none"
        )
    if name in METHODS:
        raise DazooError(f"there is a method {name!r} already ({METHODS.get(name).__module__}); choose another name")
    out.mkdir(parents=True, exist_ok=True)
    text = TEMPLATES[kind].format(
        title=class_name(name), family=family, file=path.as_posix(), year=datetime.date.today().year
    )
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def class_name(name: str) -> str:
    """``my_method`` as ``MyMethod``."""
    return "".join(part.capitalize() for part in name.split("_"))


def run_new_method(name: str, family: str, kind: str, out: Path) -> None:
    """Write the file and print the two commands that come next."""
    path = new_method(name, family, kind, out)
    print(f"wrote {path}; it runs as it is. Next:")
    print(f"  dazoo check {path}:{class_name(name)}")
    print(f"  dazoo run digits --methods source_only,{path} --out out/{name}")
