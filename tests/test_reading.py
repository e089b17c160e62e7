"""The script that counts what a reader of a method meets."""

from __future__ import annotations

from pathlib import Path

from benchmarks.reading import counts


def test_counts_follow_names_to_the_depth_and_count_each_once(tmp_path: Path) -> None:
    files = {
        "methods/family/mine.py": "from dazoo.ops.a import one, two\nfrom dazoo.core.words import W\none(two(W))\n",
        "ops/a.py": "from dazoo.ops.b import far\n\ndef one():\n    return far\n\ndef two():\n    return one\n",
        "ops/b.py": "from dazoo.ops.c import further\n\ndef far():\n    # read\n    return further\n",
        "ops/c.py": "def further():\n    pass\n\ndef nobody():\n    pass\n",
        "core/words.py": "class W:\n    a = 1\n    b = 2\n",
    }
    for name, text in files.items():
        path = tmp_path / "dazoo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert counts(tmp_path, "mine", 1) == (3, 4, 3)  # one and two, and W
    assert counts(tmp_path, "mine", 2) == (3, 7, 3)  # far
    assert counts(tmp_path, "mine", 3) == (3, 9, 3)  # further, and never nobody
