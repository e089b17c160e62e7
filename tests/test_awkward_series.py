"""Awkward recordings and series, and what the diagnosis and the findings say of them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import dazoo
from dazoo.bench.analysis.findings import check_run
from dazoo.bench.records.store import Damage, records
from dazoo.core.errors import DazooError, DazooWarning
from dazoo.data.raw import Ragged
from dazoo.data.registry import load_domain, load_task
from dazoo.encoders.base import create_encoder
from tests.test_encoder_series import save, tone

RNG = np.random.default_rng(0)


def sounds(n: int = 24, extra: float = 0.0) -> list[np.ndarray]:
    """Low and high tones in turn, of unlike length."""
    return [tone(300 + 900 * (i % 2) + 7 * i, 0.2 + 0.01 * i) + extra * RNG.normal() for i in range(n)]


def windows(n: int = 40, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n) % 2
    return RNG.normal(size=(n, 2, 32)) * (1 + 2 * y)[:, None, None] + offset, y


def test_silent_recordings_are_counted_and_a_silent_side_is_refused():
    rows = sounds()
    quiet = [np.zeros_like(r) if i in (3, 4) else r for i, r in enumerate(rows)]
    task = dazoo.Task.from_arrays(rows, [i % 2 for i in range(24)], quiet, kind="audio")
    with pytest.warns(DazooWarning, match="2 of 24 recordings of the target are silent, and alike to every method"):
        model = dazoo.fit("coral", task)
    assert model.predict(rows).labels.tolist() == [0, 1] * 12
    for value in (0.0, 0.5):  # no sound is no sound, whatever the level it stays at
        nothing = [np.full_like(r, value) for r in rows]
        mute = dazoo.Task.from_arrays(rows, [i % 2 for i in range(24)], nothing, kind="audio")
        with pytest.raises(DazooError, match="all 24 recordings of the target are silent"):
            dazoo.fit("coral", mute)
    opposite = [np.stack([r, -r]) for r in rows]  # two channels that cancel out in their mean
    with pytest.raises(DazooError, match="of the source are silent"):
        dazoo.fit("coral", dazoo.Task.from_arrays(opposite, [i % 2 for i in range(24)], opposite, kind="audio"))


def test_a_limit_that_cuts_many_recordings_is_said():
    rows = Ragged.of(sounds(), "audio", 8000.0)
    assert create_encoder("log_mel").fit(rows, rows).said() == []
    assert "of the recordings are longer than 0.2 s" in create_encoder("log_mel", seconds=0.2).fit(rows, rows).said()[0]
    assert create_encoder("log_mel", form="vector").fit(rows, rows).said() == []


def test_rates_that_differ_and_files_that_nothing_decodes_are_said(tmp_path: Path):
    for domain, rate in (("a", 8000), ("b", 16000)):
        for kind in ("low", "high"):
            save(tmp_path / domain / kind / "0.wav", tone(300, 0.3, rate), rate, channels=2)
    with pytest.warns(DazooWarning, match="between 8000 and 16000 steps per second; all are resampled to the lowest"):
        task = load_task("audio_folder/a->b", path=str(tmp_path))
    assert task.target.x.rate == 8000 and task.target.x.form == (1,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who says a rate knows of it
        assert load_domain("audio_folder", "b", path=str(tmp_path), rate=16000).x.lengths.tolist() == [4800, 4800]
    (tmp_path / "a" / "low" / "memo.M4A").write_bytes(b"")
    with pytest.warns(DazooWarning, match=r"files that end in \.m4a are left out; convert"):
        load_domain("audio_folder", "a", path=str(tmp_path), rate=8000)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([np.zeros(0, np.float32), tone(300, 0.2)], "1 of 2 series are empty"),
        ([np.full(90, np.nan), tone(300, 0.2)], "NaN or infinite values stand in its samples, first in number 0"),
        ([np.zeros((2, 50)), np.zeros(60)], "need one number of channels"),
        ([["a", "b"], ["c"]], "must be recordings"),
        ([1.0, 2.0, 3.0], "must be recordings"),
        (np.zeros((2, 2, 50)), r"form \(2,\), not \(1,\)"),
    ],
)
def test_recordings_that_are_none_are_one_sentence(rows, said):
    good = sounds(4)
    with pytest.raises(DazooError, match=said):
        dazoo.Task.from_arrays(good, [0, 1, 0, 1], rows, kind="audio")
    listed = dazoo.Task.from_arrays([g.tolist() for g in good], [0, 1, 0, 1], [g.tolist() for g in good], kind="audio")
    assert listed.target.x.lengths.tolist() == [len(g) for g in good]


def test_recordings_shorter_than_a_window_of_the_spectrum_are_padded():
    rows = [tone(300 + 900 * (i % 2), 0.005) for i in range(12)] + sounds(12)
    made = create_encoder("log_mel").fit(Ragged.of(rows, "audio", 8000.0), Ragged.of(rows, "audio", 8000.0))
    assert np.isfinite(made(Ragged.of(rows, "audio", 8000.0)).numpy()).all()


def test_flat_channels_and_single_steps_of_series_give_finite_numbers():
    x, y = windows()
    x[:, 1] = 5.0
    for encoder in ("statistics", "channels"):
        made = create_encoder(encoder)
        task = dazoo.Task.from_arrays(x, y, x)
        assert np.isfinite(made.fit(task.sources[0].x, task.target.x)(task.target.x).numpy()).all()
    x[:, 0] = 5.0
    with pytest.raises(DazooError):
        dazoo.diagnose(dazoo.Task.from_arrays(x, y, x))


def test_diagnose_reads_series_and_recordings():
    (xs, ys), (xt, yt) = windows(60), windows(60, offset=3.0)
    found = dazoo.diagnose(dazoo.Task.from_arrays(xs, ys, xt, yt))
    assert found.kind == "features" and found.dims == 2 * 8 + 2 * 6 + 1 and found.skill > 0.9
    rows = sounds(40)
    same = dazoo.diagnose(dazoo.Task.from_arrays(rows, [i % 2 for i in range(40)], rows, kind="audio"))
    assert same.kind == "none" and same.dims == 320 and {c.name for c in same.classes} == {"0", "1"}


def test_a_method_on_vectors_says_what_makes_vectors_of_series_and_recordings():
    x, y = windows()
    with pytest.raises(DazooError, match=r"takes vectors, not series samples.*encoder 'statistics'"):
        dazoo.fit("coral", dazoo.Task.from_arrays(x, y, x), encoder="channels")
    rows = sounds()
    with pytest.raises(DazooError, match=r"takes vectors, not audio samples.*form 'vector'"):
        dazoo.fit("coral", dazoo.Task.from_arrays(rows, [0, 1] * 12, rows, kind="audio"), encoder="log_mel")


def test_findings_are_made_of_runs_on_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A target of noise collapses, and the record says so."""
    monkeypatch.chdir(tmp_path)
    for domain in ("a", "b"):
        for kind, hertz in (("low", 300), ("high", 1200)):
            for i in range(8):
                signal = tone(hertz + 10 * i, 0.2) if domain == "a" else np.float32(RNG.normal(0, 0.1, 1600))
                save(tmp_path / "rec" / domain / kind / f"{i}.wav", signal)
    (tmp_path / "heard.yaml").write_text(
        "name: heard\ndataset: {name: audio_folder, path: rec}\ntasks: [a->b]\nmethods: [source_only, coral]\n"
        "encoder: {name: log_mel, form: vector}\nclassifier: logistic\nselect_by: last\nvalidators: [entropy]\n"
    )
    folder = dazoo.run_suite("heard.yaml")
    kept = list(records(folder, Damage()))
    assert len(kept) == 2 and all(r["status"] == "ok" for r in kept)
    assert {f.kind for r in kept for f in check_run(r)} <= {"collapse"}
    assert any(f.kind == "collapse" for r in kept for f in check_run(r) if r["spec"]["method"] == "source_only")
