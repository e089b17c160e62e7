"""Drawing: a figure is a few lines, dots, marks and words in its own units.

It is drawn as SVG for the page without any library, and as PDF and PNG by Matplotlib where that is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from dazoo.core.files import opened

META: dict[str, None] = {"CreationDate": None}
ANCHORS = {"start": "left", "middle": "center", "end": "right"}
STYLES = {"axis": ("black", 1.0), "thin": ("gray", 0.8), "strong": ("black", 3.0), "data": ("#0b5cad", 1.6)}
PALETTE = (
    "#cc6677", "#332288", "#b8a22b", "#117733", "#4aa8d8", "#882255", "#44aa99", "#777711", "#aa4499", "#777777",
)  # fmt: skip
"""Ten colours after Paul Tol's muted scheme, apart for colour-blind readers too; further classes share the last."""


@dataclass(frozen=True)
class Line:
    """A straight line; ``kind`` is axis, thin, strong or data; ``shade`` numbers its colour, below 0 the kind's own."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str = "thin"
    shade: int = -1


@dataclass(frozen=True)
class Dot:
    """A dot with a title to hover; those that are not ``full`` are rings."""

    x: float
    y: float
    title: str
    full: bool = True


@dataclass(frozen=True)
class Mark:
    """One sample of a scatter: a ring for the source, a triangle for the target; ``shade`` numbers its colour."""

    x: float
    y: float
    shade: int
    target: bool


@dataclass(frozen=True)
class Word:
    """Text with its baseline at (x, y)."""

    x: float
    y: float
    text: str
    anchor: str = "start"
    soft: bool = False


@dataclass(frozen=True)
class Figure:
    """``name`` is the stem of its files, ``title`` what it shows, in one sentence."""

    name: str
    title: str
    width: float
    height: float
    parts: tuple[Line | Dot | Mark | Word, ...]

    def svg(self) -> str:
        """Inline SVG that takes its colours from the page."""
        body = "".join(_svg(p) for p in self.parts)
        return (
            f'<svg class="figure" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.title)}">{body}</svg>'
        )

    def save(self, folder: Path) -> list[Path]:
        """Write PDF and PNG; nothing where Matplotlib is not installed. ``OSError`` where one cannot be written; the
        other one is."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure as Canvas
        except ImportError:
            return []
        drawn = Canvas(figsize=(self.width / 100, self.height / 100))
        FigureCanvasAgg(drawn)
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for p in self.parts:
            if isinstance(p, Line):
                style = STYLES[p.kind]
                color = style[0] if p.shade < 0 else PALETTE[p.shade % len(PALETTE)]
                axes.plot([p.x1, p.x2], [p.y1, p.y2], color=color, linewidth=style[1], solid_capstyle="butt")
            elif isinstance(p, Dot):
                face = "#0b5cad" if p.full else "white"
                axes.plot([p.x], [p.y], "o", markersize=6, color="#0b5cad", markerfacecolor=face)
            elif isinstance(p, Mark):
                color = PALETTE[p.shade % len(PALETTE)]
                face = color if p.target else "none"
                axes.plot([p.x], [p.y], "^" if p.target else "o", ms=4, color=color, markerfacecolor=face, mew=0.8)
            else:
                color = "#54616f" if p.soft else "black"
                # a dollar sign would start a formula
                text = p.text.replace("$", r"\$")
                axes.text(p.x, p.y, text, ha=ANCHORS[p.anchor], va="baseline", fontsize=9, color=color)
        failed: OSError | None = None
        paths = [folder / f"{self.name}.{kind}" for kind in ("pdf", "png")]
        for path in paths:
            kind = path.suffix[1:]
            try:
                with opened(path) as file:
                    drawn.savefig(file, format=kind, dpi=200, metadata=META if kind == "pdf" else None)
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return paths


def _svg(p: Line | Dot | Mark | Word) -> str:
    if isinstance(p, Line):
        shade = f" shaded c{p.shade}" if p.shade >= 0 else ""
        return f'<line class="{p.kind}{shade}" x1="{p.x1:.1f}" y1="{p.y1:.1f}" x2="{p.x2:.1f}" y2="{p.y2:.1f}"/>'
    if isinstance(p, Dot):
        kind = "full" if p.full else "ring"
        return f'<circle class="{kind}" cx="{p.x:.1f}" cy="{p.y:.1f}" r="5"><title>{escape(p.title)}</title></circle>'
    if isinstance(p, Mark):
        shape = (
            f"M{p.x:.1f} {p.y - 4:.1f}l4 7h-8z" if p.target else f"M{p.x - 3:.1f} {p.y:.1f}a3 3 0 1 0 6 0a3 3 0 1 0-6 0"
        )
        return f'<path class="{"target" if p.target else "source"} c{p.shade}" d="{shape}"/>'
    soft = ' class="soft"' if p.soft else ""
    return f'<text{soft} x="{p.x:.1f}" y="{p.y:.1f}" text-anchor="{p.anchor}">{escape(p.text)}</text>'
