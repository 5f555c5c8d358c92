"""Branches are what a request from there gives, to the last bit; the tree says where each came from."""

from __future__ import annotations

import re
from typing import Any

import pytest

import aphrodite
from aphrodite.display.generation import Generation
from aphrodite.lab import Tree
from aphrodite.local import LocalSession
from aphrodite_engine.errors import ParameterError
from aphrodite_engine.params import SamplingParams
from aphrodite_engine.prompts import Continuation
from tests.browser.chromium import look

START = "Once upon a time"
PARAMS = SamplingParams(seed=8, max_tokens=24, logprobs=5, ignore_eos=True, temperature=1.2, presence_penalty=0.4)


@pytest.fixture
def tree(demo: LocalSession) -> Tree:
    return Tree(demo.generate(START, PARAMS)[0])


@pytest.fixture
def grown(tree: Tree) -> Tree:
    tree.branch(5, seed=3)
    tree.expand(8, k=2)
    tree.branch(12, token=" and", of=1)
    return tree


def direct(demo: LocalSession, kept: list[int], params: SamplingParams = PARAMS) -> list[int]:
    return demo.generate(START, params, continuation=Continuation(tuple(kept)))[0].token_ids


def test_another_token_gives_what_a_direct_request_gives(demo: LocalSession, tree: Tree) -> None:
    other = tree[0].output.tokens[6].alternatives[1]
    node = tree.branch(6, token=other.token_id)
    assert node.token_ids == direct(demo, [*tree[0].token_ids[:6], other.token_id])
    assert (node.number, node.parent, node.at, node.token) == (1, 0, 6, other.text)
    assert tree[1] is node and len(tree) == 2


def test_another_seed_gives_what_a_direct_request_gives(demo: LocalSession, tree: Tree) -> None:
    node = tree.branch(6, seed=77)
    assert node.token_ids == direct(demo, tree[0].token_ids[:6], PARAMS.with_fields(seed=77))
    assert node.seed == 77 and node.token_ids != tree[0].token_ids


def test_the_same_seed_gives_the_same_again(tree: Tree) -> None:
    assert tree.branch(6, seed=PARAMS.seed).token_ids == tree[0].token_ids
    assert tree.branch(6).token_ids == tree[0].token_ids


def test_a_branch_of_a_branch_keeps_what_both_share(demo: LocalSession, tree: Tree) -> None:
    first = tree.branch(5, seed=3)
    second = tree.branch(9, seed=4, of=1)
    assert second.parent == 1 and second.token_ids[:9] == first.token_ids[:9]
    assert second.token_ids == direct(demo, first.token_ids[:9], PARAMS.with_fields(seed=4))


def test_other_fields_may_differ(demo: LocalSession, tree: Tree) -> None:
    node = tree.branch(4, temperature=0.0, max_tokens=10)
    assert node.token_ids == direct(demo, tree[0].token_ids[:4], PARAMS.with_fields(temperature=0.0, max_tokens=10))


def test_expand_branches_into_the_likeliest_others(demo: LocalSession, tree: Tree) -> None:
    nodes = tree.expand(7, k=3)
    likely = demo.next_token([*tree[0].result.prompt_token_ids, *tree[0].token_ids[:7]], top=4).raw
    others = [candidate.token_id for candidate in likely if candidate.token_id != tree[0].token_ids[7]][:3]
    assert [node.token_ids[7] for node in nodes] == others
    again = tree.expand(7, k=2, of=nodes[0].number)  # where its own token was chosen, its parent knows the others
    assert [node.token_ids[7] for node in again] == others[1:]


def test_expand_asks_for_what_was_not_reported(demo: LocalSession) -> None:
    silent = demo.generate(START, PARAMS.with_fields(logprobs=None))[0]
    nodes = Tree(silent).expand(7, k=3)
    assert [n.token_ids[7] for n in nodes] == [n.token_ids[7] for n in Tree(demo.generate(START, PARAMS)[0]).expand(7)]


def test_a_node_tells_of_what_is_its_own(grown: Tree) -> None:
    root, first = grown[0], grown[1]
    assert root.text == root.output.text and root.token is None
    assert first.output.text.endswith(first.text) and first.text.startswith(first.token or "?")
    assert "".join(token.text for token in first.output.tokens[5:]) == first.text
    drawn = [token.raw_logprob for token in first.output.tokens[5:] if token.raw_logprob is not None]
    assert len(drawn) == 19 and first.mean_logprob == pytest.approx(sum(drawn) / 19)


def test_the_frame_has_a_row_a_node(grown: Tree) -> None:
    df = grown.df
    assert df.node.tolist() == list(range(5))
    assert df.parent.tolist()[1:] == [0, 0, 0, 1] and df["at"].tolist()[1:] == [5, 8, 8, 12]
    assert df.tokens.eq(24).all() and df.finish_reason.eq("length").all()
    assert df.token[4] == " and" and df.text[4].startswith(" and") and df.seed[1] == 3


def test_a_second_sequence_can_be_the_root(demo: LocalSession) -> None:
    both = demo.generate(START, PARAMS.with_fields(n=2))[0]
    tree = Tree(Generation(both, "demo", {}), index=1)
    assert tree[0].token_ids == both.outputs[1].token_ids
    assert tree.branch(6, seed=PARAMS.seed).token_ids == both.outputs[1].token_ids


WRONG: dict[str, tuple[Any, str]] = {
    "no such node": (lambda tree: tree.branch(3, seed=1, of=1), "of"),
    "no such position": (lambda tree: tree.branch(99, seed=1), "at"),
    "no such place to expand": (lambda tree: tree.expand(24), "at"),
    "none": (lambda tree: tree.expand(3, k=0), "k"),
    "two tokens": (lambda tree: tree.branch(3, token=" once upon"), "token"),
    "no generation": (lambda tree: Tree("text"), "root"),  # type: ignore[arg-type]
    "no such sequence": (lambda tree: Tree(tree[0].result, index=1), "index"),
}


@pytest.mark.parametrize(("call", "field"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(tree: Tree, call: Any, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        call(tree)
    assert caught.value.field == field
    assert len(tree) == 1


def test_it_is_drawn_in_letters_and_as_lists(grown: Tree) -> None:
    lines = repr(grown).splitlines()
    assert [re.match(r" *", line)[0].count("   ") for line in lines] == [0, 1, 2, 1, 1]  # type: ignore[index]
    assert [int(line.strip()[1]) for line in lines] == [0, 1, 4, 2, 3]
    html = grown._repr_html_()
    assert html.count("<ul>") == html.count("</ul>") == 3
    assert html.count("<li>") == html.count("</li>") == 5


def test_the_figure_has_a_line_a_node_that_begins_at_its_parent(grown: Tree) -> None:
    lines: list[Any] = list(grown.figure().data)
    by_node = {line.name: line for line in lines}
    assert by_node["node 4"].x[0] == 12 and by_node["node 4"].x[-1] == 24
    assert by_node["node 4"].y[0] == by_node["node 1"].y[-1]
    depths = [(line.line.color, line.line.dash, line.marker.symbol) for line in lines]
    assert len(set(depths)) == 3


def test_it_is_at_hand() -> None:
    assert aphrodite.Tree is Tree


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["page", "dark_page"])
def test_it_looks_like_this(request: pytest.FixtureRequest, grown: Tree, scheme: str) -> None:
    page = request.getfixturevalue(scheme)
    style = "<style>:root{color-scheme:light dark} body{font-family:sans-serif}</style>"
    page.set_content(style + grown._repr_html_() + grown.figure().to_html(full_html=False))
    page.wait_for_selector(".main-svg")
    lefts = page.evaluate("[...document.querySelectorAll('li')].map(e => e.getBoundingClientRect().left)")
    assert lefts[0] < lefts[1] < lefts[2] and lefts[3] == lefts[1]
    look(page, f"tree-{scheme}")
