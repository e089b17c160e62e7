"""What a setting asks, who may see what in it and what stays hidden, in sentences for people.

Commands, pages of results and the documentation all take them from here. Settings without a name of their own are put
together from the sentences of their answers.
"""

from __future__ import annotations

from collections.abc import Iterable

from dazoo.core.setting import ANSWERS, PRESETS, UNSUPERVISED, WORDS, Setting

QUESTIONS = {
    "unsupervised": "Labels here, none there, and the same classes on both sides.",
    "multi_source": "Several labelled domains that the method tells apart.",
    "multi_target": "One model for several unlabelled domains, judged on each.",
    "blind_targets": "Several unlabelled domains in one pool, and nobody says which sample is of which.",
    "few_labels": "A few labels of the target are there as well.",
    "active": "A method may ask for the labels of some target samples, and chooses which.",
    "oracle": "What half of the target's labels would give: an upper bound, never a competitor.",
    "partial": "The target has only some of the source's classes, and nobody says which.",
    "open_set": "The target holds samples of classes that the source has never seen; they are to be called unknown.",
    "universal": "Both sides have classes of their own, and nobody says how many.",
    "source_free": "The source is gone; a model that was trained on it is all that is left.",
    "source_free_partial": "A model of the source, and a target with some of its classes.",
    "source_free_open": "A model of the source, and a target with unknown classes.",
    "source_free_universal": "A model of the source; both sides have classes of their own.",
    "black_box": "The source's model answers questions about target samples, and shows nothing of itself.",
    "unseen": "The target is never seen before the test.",
    "generalisation": "Several labelled domains, and a target that is never seen before the test.",
    "label_shift": "The classes are the same, but not their shares; those of the target are asked for, too.",
    "unlabelled": "No label is seen on either side; the same clusters are to be found in both.",
    "heterogeneous": "Source and target have different features, and no coordinate is the same in both.",
    "heterogeneous_few": "Source and target have different features, and a few target samples are labelled.",
    "test_time": "The target arrives in batches; each is answered on arrival and never shown again.",
    "continual": "Several targets arrive in batches, one after the other, and nobody says where one ends.",
}
OF_ANSWERS = {
    ("target", "stream"): QUESTIONS["test_time"],
}
"""Sentences of answers that make no setting with a name by themselves."""
SEES = {
    "source": {
        "data": "all labelled source samples",
        "unlabelled": "all source samples without their labels, and the number of classes",
        "model": "a model trained on the source, and no source sample",
        "black_box": "the class probabilities that the source's model gives to target samples, and no parameter of it",
    },
    "target": {
        "pool": "all unlabelled target samples at once",
        "stream": "one batch of target samples at a time, in an order that the task's seed decides",
        "unseen": "nothing of the target",
    },
    "marked": {
        "none": "",
        "few": "a few labelled target samples",
        "query": "the labels of the target samples that it asks for, within a budget",
        "half": "half of the target with its labels",
    },
}
HIDDEN = {
    "closed": "all target labels",
    "shifted": "all target labels, and the shares of the classes",
    "partial": "all target labels, and which classes the target has",
    "open": "all target labels, which samples are unknown, and how many classes they are of",
    "universal": "all target labels, and which classes of either side the other lacks",
    "unlabelled": "all labels, of source and target",
}


def question(setting: Setting) -> str:
    """What a setting asks, in a sentence or, where it has no name of its own, in one per part of its name."""
    first, *words = setting.name.split("+")
    found = [QUESTIONS.get(first, "")] + [_of(*WORDS[word]) for word in words if word in WORDS]
    return " ".join(dict.fromkeys(text for text in found if text))


def sees(setting: Setting) -> str:
    """What a method may look at, in words that follow "a method sees"."""
    parts = [SEES[kind][getattr(setting, kind)] for kind in SEES]
    if not setting.labelled:
        parts[0] = SEES["source"][setting.labels]
    return "; ".join(part for part in parts if part)


def hidden(setting: Setting) -> str:
    """What no method is shown, in words that follow "hidden are"; labels that some are shown are said by ``sees``."""
    if setting.target == "unseen":
        return "all of the target, its samples and its labels"
    found = HIDDEN[setting.labels]
    if setting.n_targets == "blind":
        found += ", and of which target a sample is"
    return found.replace("all target labels", "all other target labels", 1) if setting.shows_labels else found


def unusual(names: Iterable[str]) -> list[Setting]:
    """The questions among settings by name that differ from that of unsupervised adaptation; those of methods that see
    more labels, or pool several sources, are the same, but for several sources where the target is unseen."""
    found = [Setting.of(name).change(marked="none") for name in names]
    found = [s if s.target == "unseen" else s.change(n_sources="one") for s in found]
    return [setting for setting in dict.fromkeys(found) if setting != UNSUPERVISED]


def _of(kind: str, answer: str) -> str:
    """The sentence of one answer; empty for the usual one."""
    asked = UNSUPERVISED.change(**{kind: answer})
    return "" if asked == UNSUPERVISED else QUESTIONS.get(asked.name, OF_ANSWERS.get((kind, answer), ""))


assert set(QUESTIONS) == set(PRESETS) and set(HIDDEN) == set(ANSWERS["labels"])
