"""Plain text of tables: CSV cells and files, Markdown, numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable


def csv_text(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A CSV file with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_no_formula(cell) for cell in row] for row in rows)
    return out.getvalue()


def _no_formula(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "@", "\t", "\r") or re.match(r"-(?![\d.])", cell) else cell


def md(text: str) -> str:
    """Text of others as Markdown shows it: no element, link, emphasis, code or new line comes of it."""
    plain = re.sub(r"([\\`*\[\]])", r"\\\1", " ".join(text.split()))
    return re.sub(r"&(?=#?\w+;)", "&amp;", plain).replace("<", "&lt;")


def md_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(md(c).replace("|", "\\|") for c in cells) + " |"

    return [line(head), line(["---"] * len(head)), *(line(r) for r in rows)]


def number(value: float, digits: int = 6) -> str:
    """A number with fixed digits, empty for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"
