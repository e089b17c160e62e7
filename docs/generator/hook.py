"""MkDocs calls this while it builds: generated pages join the files, placeholders in pages become tables."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mkdocs.structure.files import File, Files
from site_boards import SHOWN_FIRST, about, board_table, boards_page, gallery_page, pictures
from site_pages import Results, entries, index_page, method_page
from site_settings import setting_page, settings_index
from site_tables import measured_table, published_table, regret_table, settings_table, sources_table, validators_table

from dazoo.core.setting import PRESETS

TABLES = {
    "<!-- table: questions -->": settings_index,
    "<!-- table: settings -->": lambda: settings_table(entries()),
    "<!-- table: validators -->": validators_table,
    "<!-- table: regrets of regret_digits -->": lambda: regret_table("regret_digits"),
    "<!-- table: regrets of regret_features -->": lambda: regret_table("regret_features"),
    "<!-- table: regrets of regret_partial -->": lambda: regret_table("regret_partial"),
    "<!-- table: regrets of regret_open -->": lambda: regret_table("regret_open"),
    "<!-- table: single and several sources -->": sources_table,
    "<!-- table: leaderboard of digits -->": lambda: _board("digits", None),
    "<!-- table: leaderboard of heart -->": lambda: _board("heart", None, "../"),
    "<!-- table: leaderboard of heart_trees -->": lambda: _board("heart_trees", None, "../"),
    "<!-- table: leaderboard of heart_left_out -->": lambda: _board("heart_left_out", None, "../"),
    "<!-- table: encoder of tables -->": lambda: measured_table("encoders/table.csv"),
    "<!-- table: first of office_caltech10_features -->": lambda: _board("office_caltech10_features", SHOWN_FIRST),
    "<!-- table: published -->": lambda: published_table(Results.read()),
}


def _board(suite: str, first: int | None, home: str = "") -> str:
    text = f"<p>{html.escape(about(suite))}</p>\n\n"
    return text + board_table(Results.read(), {e.name: e for e in entries()}, suite, home, first)


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the index of methods, one page per method, the leaderboards, and the gallery with its pictures."""
    every, results = entries(), Results.read()
    families = {e.cls.family: [o for o in every if o.cls.family == e.cls.family] for e in every}
    files.append(File.generated(config, "methods/index.md", content=index_page(every)))
    for entry in every:
        page = method_page(entry, families[entry.cls.family], results)
        files.append(File.generated(config, f"methods/{entry.name}.md", content=page))
    for name in PRESETS:
        files.append(File.generated(config, f"settings/{name}.md", content=setting_page(name, every, results)))
    files.append(File.generated(config, "leaderboards.md", content=boards_page(results, every)))
    shown = pictures()
    files.append(File.generated(config, "gallery.md", content=gallery_page(shown)))
    for picture in shown:
        files.append(File.generated(config, picture.place, abs_src_path=str(picture.file)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the tables."""
    for mark, make in TABLES.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return markdown
