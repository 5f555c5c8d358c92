"""The sampler study: its stored numbers are those that its command gives, and what is told is what was stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from experiments.samplers import figure, report, settings
from experiments.samplers.findings import Findings

STUDY = Path(__file__).parents[3] / "experiments" / "samplers"
TRAINING = STUDY.parent / "demo_model"


@pytest.fixture(scope="module")
def findings() -> Findings:
    return Findings.load(STUDY / "results" / "study.json")


@pytest.mark.slow
def test_the_quick_study_gives_the_stored_numbers_to_the_last_bit(tmp_path: Path) -> None:
    found = tmp_path / "quick.json"
    command = [sys.executable, str(STUDY / "study.py"), "--quick", "--out", str(found)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored = Findings.load(STUDY / "results" / "quick.json")
    for again, before in zip(Findings.load(found).results, stored.results, strict=True):
        assert again == before, f"{before['family']} {before['label']}"


def test_every_setting_of_the_study_was_measured_with_the_fields_it_has(findings: Findings) -> None:
    """A preset or strength that changed is to be measured anew: study.py --only FAMILY."""
    measured = [(result["family"], result["label"], result["fields"]) for result in findings.results]
    expected = [(s.family, s.label, json.loads(json.dumps(s.fields))) for s in settings.everything()]
    assert measured == expected
    assert findings.sizes == settings.FULL_SIZES


def test_the_tables_and_the_figure_are_those_of_the_results(findings: Findings) -> None:
    assert report.tables(findings) in (STUDY / "README.md").read_text()
    assert (STUDY / "figure.svg").read_text() == figure.draw(findings)


def test_other_families_keep_their_results_when_one_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TRAINING)
    from experiments.samplers.study import merged

    one, two = settings.Setting("a", "1", {}), settings.Setting("b", "1", {})
    old = [{"family": "b", "label": "1", "tokens": 5}, {"family": "gone", "label": "1"}]
    new = [{"family": "a", "label": "1", "tokens": 7}]
    assert merged(old, new, [one, two]) == [new[0], old[0]]


# ---- stories


@pytest.fixture
def from_training(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of the bundled model's training, which import each other by their bare names."""
    monkeypatch.syspath_prepend(TRAINING)
    yield


@pytest.mark.usefixtures("from_training")
def test_every_story_of_the_training_data_is_told_right() -> None:
    from experiments.demo_model.evaluate import Split, stories
    from experiments.samplers.story_grammar import told

    random = Random(3)
    for _ in range(200):
        text = stories.story_as_text(random, Split.HELD_OUT).text
        assert told(text).whole, text
        assert not told(text + " The end.").whole and not told(text[:-9]).whole


@pytest.mark.usefixtures("from_training")
@pytest.mark.parametrize(
    ("story", "sentences"),
    [
        ("Once there was a shy cat named Mia who lived by the lake. Mia loved to climb trees. Mia had a friend,", 2),
        ("Once there was a shy cat named Mia who lived by the lake. Mio loved to climb trees.", 1),
        ("There once was an owl called Leo, and everybody knew how shy he was. More than anything, she loved", 1),
        ("There once was an owl called Leo, and everybody knew how shy he was. More than anything, he loved to "
         "climb trees. ", 2),
        ("There once was a green called Leo, and everybody knew how shy he was.", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_a_story_is_right_as_far_as_it_keeps_to_itself(story: str, sentences: int) -> None:
    from experiments.samplers.story_grammar import told

    assert told(story).sentences == sentences
