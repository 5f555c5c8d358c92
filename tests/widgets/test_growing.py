"""Branches that widgets ask for, on a real model in this process: clicked, redrawn, branched again, failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aphrodite import LLM, SamplingParams
from aphrodite.display.generation import Generation
from aphrodite.widgets.branch_tree import BranchTree
from aphrodite.widgets.token_view import TokenView

PARAMS = SamplingParams(seed=13, max_tokens=16, temperature=1.2, logprobs=5)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM("demo") as found:
        yield found


@pytest.fixture
def story(llm: LLM) -> Generation:
    return Generation(llm.generate("Once upon a time", PARAMS)[0], "demo", {"seed": 13})


def clicked(widget: TokenView | BranchTree, at: int, token_id: int | None, of: int = 0) -> None:
    """What the front end sends; it needs no answer from whoever waits."""
    message: dict[str, Any] = {"kind": "branch", "of": of, "at": at, "token_id": token_id}
    widget._handle_custom_msg(message, [])


def test_a_click_writes_on_with_the_other_token(story: Generation) -> None:
    view, other = story.view(), story.tokens[3].alternatives[1]
    clicked(view, 3, other.token_id)
    assert view.branched[0]["facts"] == "writing on …" or view.branches, "it is told at once"
    view.wait()
    (found,) = view.branches
    assert found.result.token_ids[:4] == [*story.result.token_ids[:3], other.token_id]
    shown = view.branched[0]
    assert (shown["first"], shown["at"], len(shown["tokens"])) == (4, 3, 12)
    assert shown["kept"] + shown["forced"] + "".join(t["text"] for t in shown["tokens"]) == found.text
    assert story.branches == [found]


def test_another_draw_has_another_seed_and_comes_again(story: Generation) -> None:
    view = story.view()
    for _ in range(2):
        clicked(view, 5, None)
    view.wait()
    assert [branch.seed for branch in view.branches] == [14, 15]
    assert [shown["label"] for shown in view.branched] == ["seed 14", "seed 15"]
    again = story.branch(5, seed=14)
    assert again.result.token_ids == view.branches[0].result.token_ids


def test_a_branch_is_branched_again_and_the_tree_has_all(story: Generation) -> None:
    tree = story.tree()
    clicked(tree, 3, story.tokens[3].alternatives[1].token_id)
    tree.wait()
    clicked(tree, 8, None, of=1)
    tree.wait()
    first, second = tree.branches
    assert second.result.token_ids[:8] == first.result.token_ids[:8]
    assert [limb["level"] for limb in tree.limbs] == [0, 1, 2]
    fresh = story.tree()
    assert fresh.branches == tree.branches and repr(fresh) == repr(tree)


def test_what_fails_is_told_in_words_and_the_view_goes_on(llm: LLM, story: Generation) -> None:
    view = story.view()
    clicked(view, 3, 10**9)
    view.wait()
    assert view.branches == [] and "1000000000" in view.branched[0]["problem"]
    clicked(view, 3, None)
    view.wait()
    assert len(view.branches) == 1


def test_a_view_of_a_branch_greys_what_it_kept(story: Generation) -> None:
    found = story.branch(6, token=story.tokens[6].alternatives[-1].token_id)
    view = found.view()
    assert view.can_branch and view.sequence["first"] == 7
    assert view.sequence["kept"] == "".join(token.text for token in story.tokens[:6])
    clicked(view, 9, None)
    view.wait()
    assert view.branches[0].result.token_ids[:9] == found.result.token_ids[:9]


def test_a_tree_widget_has_its_table_and_figure(story: Generation) -> None:
    tree = story.tree()
    for at, token_id in ((3, story.tokens[3].alternatives[1].token_id), (6, None)):
        clicked(tree, at, token_id)
        tree.wait()
    clicked(tree, 9, None, of=1)
    tree.wait()
    df = tree.df
    assert df["at"].tolist()[1:] == [3, 6, 9] and df.parent.tolist()[1:] == [0, 0, 1]
    assert df.seed.tolist()[2:] == [15, 16]
    assert len(tree.figure().to_dict()["data"]) == 4
