"""Formulas as docstrings write them (``min_{F,C} CE(C(F(x_s)), y_s) + trade_off * MMD``) as HTML that reads like print.

Only HTML: letters in italics, words upright, sub- and superscripts, Greek letters and signs. The reader's browser needs
no script and no font for it. The order of what is written stays as it is.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from unicodedata import normalize

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "epsilon": "ε", "eta": "η", "theta": "θ",
    "kappa": "κ", "lam": "λ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "φ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Lambda": "Λ", "Sigma": "Σ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
SIGNS = {
    "||": "‖", "<=": "≤", ">=": "≥", "!=": "≠", "->": "→", "<-": "←", "*": "·", "-": "−", "'": "′", "...": "…",
    "~": "∼",
}  # fmt: skip
WORDS = {"sum": "∑", "integral": "∫", "sqrt": "√"}
INDEXED = {"min", "max", "argmin", "argmax", "sum", "mean", "std", "integral", "Cov", "KL", "CE", "BCE", "softmax"}
NAME = r"[^\W\d_]+\d*"
TOKEN = re.compile(
    r"(?P<code>``[^`]+``)|(?P<times> \(x\) )|(?P<space>\s+)|(?P<word>[^\W\d_][^\W_]*(?:_[^\W_][^\W_]*)*)"
    r"|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<sub>_)|(?P<sup>\^)|(?P<sign>\|\||<=|>=|!=|<-|->|\.\.\.|.)"
)
SCRIPT = re.compile(r"\{(?P<braces>[^{}]*)\}|\((?P<round>[^()]*)\)|(?P<plain>-?[^\W_]+(?:,[^\W_]+)*'?|[-+*'])")


def formula(block: str, names: Collection[str] = ()) -> str:
    """A block of lines as HTML; ``names`` are hyper-parameters, which keep their spelling."""
    lines = block.split("\n")
    first = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    rows: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i][first:].rstrip()
        follower = lines[i + 1][first:].rstrip() if i + 1 < len(lines) else ""
        matrix = _matrix(line, follower, names)
        if matrix is not None:
            rows.append(matrix)
            i += 2
            continue
        depth = len(line) - len(line.lstrip())
        # a line that continues the one above is set in a little, not as far as a typewriter would
        left = "cont" if depth > 8 else "part" if depth else ""
        rows.append(f'<div class="row {left}">'.replace(' "', '"') + typeset(line.strip(), names) + "</div>")
        i += 1
    return f'<div class="formula" role="math" aria-label="{_label(lines)}">{"".join(rows)}</div>'


def _label(lines: list[str]) -> str:
    return html.escape(" ".join(" ".join(lines).split()), quote=True)


def _matrix(line: str, follower: str, names: Collection[str]) -> str | None:
    """Two lines with brackets one above the other as a matrix of two rows."""
    at = len(follower) - len(follower.lstrip())
    if not (follower.lstrip().startswith("[") and at > 2 and line[at : at + 1] == "["):
        return None
    end = line.index("]", at)
    cells = [re.split(r"\s{2,}", part.strip(" []")) for part in (line[at : end + 1], follower[at:])]
    body = "".join("<tr>" + "".join(f"<td>{typeset(c, names)}</td>" for c in row) + "</tr>" for row in cells)
    before, after = typeset(line[:at].strip(), names), typeset(line[end + 1 :].strip(), names)
    return f'<div class="row">{before} <table class="matrix">{body}</table> {after}</div>'


def typeset(text: str, names: Collection[str] = ()) -> str:
    """One line as HTML."""
    out: list[str] = []
    at, text = 0, hats(text)
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match is not None
        kind, token = match.lastgroup, match[0]
        at = match.end()
        if kind == "code":
            out.append(f"<code>{html.escape(token[2:-2])}</code>")
        elif kind == "times":
            out.append(" ⊗ ")
        elif kind == "space":
            out.append(" " if len(token) == 1 else "\u2003")
        elif kind == "word":
            done, at = _word(token, text, at, names)
            out.append(done)
        elif kind in ("sub", "sup"):
            script = SCRIPT.match(text, at)
            if script is None:
                out.append(html.escape(token))
            else:
                at = script.end()
                out.append(_script(kind, next(g for g in script.groups() if g is not None), names))
        elif kind == "sign":
            out.append(html.escape(SIGNS.get(token, token)))
        else:
            out.append(html.escape(token))
    return "".join(out)


def hats(text: str) -> str:
    """``y^`` with nothing above it, as in ``y^_t``, is y with a hat."""
    return re.sub(r"(?<![^\W\d_])([^\W\d_])\^(?=[_)\s,;=])", lambda m: normalize("NFC", m[1] + "\u0302"), text)


def _script(kind: str, inner: str, names: Collection[str]) -> str:
    return f"<{kind}>{typeset(inner, names)}</{kind}>"


def _word(token: str, text: str, at: int, names: Collection[str]) -> tuple[str, int]:
    """A word with what hangs below it, and where reading goes on."""
    if token in names:
        return f'<span class="hp">{html.escape(token)}</span>', at
    base, underscore, below = token.partition("_")
    if underscore and not (len(base) == 1 or base in GREEK or base in INDEXED):
        return f'<span class="up">{html.escape(token)}</span>', at
    done = _letter(base)
    if underscore:
        # x_s,i: indices that follow a comma without a space belong to the subscript
        more = re.compile(r"(?:,[^\W_]{1,2}(?![^\W_]))+").match(text, at)
        if more is not None:
            below, at = below + more[0], more.end()
        done += _script("sub", below.replace("_", ","), names)
    return done, at


def _letter(word: str) -> str:
    if word in WORDS:
        return f'<span class="big">{WORDS[word]}</span>'
    if word in GREEK:
        return f"<i>{GREEK[word]}</i>"
    if re.fullmatch(r"[^\W\d_]\d?", word):
        return f"<i>{word[0]}</i>{word[1:]}"
    if len(word) == 2 and word.islower() and set(word) <= set("ijkcmst"):
        return f"<i>{word}</i>"
    return f'<span class="up">{html.escape(word)}</span>'


ROUND = r"\([^()\n]{1,24}\)"
INLINE = re.compile(
    r"``(?P<code>[^`]+)``"
    r"|(?P<link>https://[^\s<>]*[^\s<>.,;:)])"
    r"|(?P<math>(?:(?<![\w./])|(?<=[\d']/))(?:[^\W\d_]|" + "|".join([*GREEK, "sum", "min", "max"]) + r")'?"
    rf"(?:[_^](?:\{{[^{{}}\n]*\}}|{ROUND}|-?[^\W_]{{1,4}}(?:,[^\W_]{{1,2}})*(?![^\W]|/\d)))+'?)"
    rf"|(?P<power>(?<=[)\]|])\^(?:{ROUND}|-?[^\W_]{{1,2}}(?!\w)))"
    r"|(?P<norm>\|\|(?:[_^]\w)?)|(?P<times> \(x\) )|(?P<op><=|>=|!=|->|(?<= )\*(?= ))"
)


def prose(text: str, names: Collection[str] = ()) -> str:
    """A paragraph of a docstring as HTML: code spans, links, and the indices of symbols."""
    out, at, text = [], 0, hats(text)
    for match in INLINE.finditer(text):
        out.append(_plain(text[at : match.start()], names))
        at = match.end()
        if match["code"]:
            out.append(f"<code>{html.escape(match['code'])}</code>")
        elif match["link"]:
            link = html.escape(match["link"])
            out.append(f'<a href="{link}">{link}</a>')
        elif match["math"] or match["power"] or match["norm"] or match["times"]:
            out.append(f'<span class="math">{typeset(match[0], names)}</span>')
        else:
            out.append(html.escape(SIGNS[match[0]]))
    out.append(_plain(text[at:], names))
    return "".join(out)


def _plain(text: str, names: Collection[str]) -> str:
    """Words; hyper-parameters whose spelling shows that they are no words are set as code."""
    spelled = [n for n in names if "_" in n]
    done = html.escape(text, quote=False)
    return re.sub(rf"(?<![\w./])({'|'.join(spelled)})(?![\w/(]|\.\w)", r"<code>\1</code>", done) if spelled else done
