"""Markdown that shows a text as it is."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from aphrodite.display.generation import Generations
from aphrodite.display.markdown import escaped, quoted, table
from tests.display.made import generation, output

HOSTILE = [
    "# a", "1. a", "- a", "+ a", "a\n===", "**b** _c_ `d`", "<script>x</script>", "[a](b)", "![a](b)", "> a", "~~a~~",
    "a & b &amp; c", "\\* a", "---", "| a | b |", "$x$", "* * *", "```\na\n```", "    code",
]  # fmt: skip


class Words(HTMLParser):
    """Text and tags of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_markup_of_a_text_comes_through(text: str) -> None:
    shown = Words(MarkdownIt("gfm-like", {"linkify": False}).render(quoted(text)))
    assert shown.tags <= {"blockquote", "p", "br"}
    assert shown.text.split() == text.split()


def test_lines_and_indentation_stay() -> None:
    assert quoted("a\n\nb\n  c") == "> a\n>\n> b\\\n> \xa0\xa0c"
    assert escaped("") == "" and quoted("") == ">"


def test_a_cell_of_a_table_is_one_cell() -> None:
    html = MarkdownIt("gfm-like", {"linkify": False}).render(table(["a", "b"], [["1 | 2", "x\ny"]]))
    assert html.count("<td>") == 2 and "1 | 2" in html and "x ⏎ y" in html


def test_generations_are_a_table() -> None:
    found = Generations([generation(output([("<b>", 0.5, 0.7)]), prompt="a|b")])
    html = MarkdownIt("gfm-like", {"linkify": False}).render(found._repr_mimebundle_()[0]["text/markdown"])
    assert html.count("<tr>") == 2 and "a|b" in html and "&lt;b&gt;" in html
