"""Tokens as HTML without script: the less likely a token was, the stronger its shade; hovering shows others.

It loses parts gracefully. Where styles stay (JupyterLab, VS Code, exported pages) a switch of CSS alone says what the
shade means. Where a page keeps inline styles only, the chosen shade stays and the switch is hidden. Where it keeps no
styles at all, as code hosts do, the least likely tokens are still marked, and nothing but the text is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from aphrodite.display.shade import COLOURS, SHADES, Shade, by_entropy, by_probability
from aphrodite.display.shares import Shares
from aphrodite.display.visible import visible_html
from aphrodite_engine.outputs import CompletionOutput, PositionLogprobs

FRAME = "white-space:pre-wrap;line-height:1.7;font-family:inherit;overflow-wrap:anywhere"
#: Stands between what a branch kept and what is its own; on light and dark, with styles and without.
FORK = "▸"
_KEPT = "opacity:.6;text-decoration:underline dotted;text-underline-offset:.3em"
#: From this opacity on, a token is a <mark>, which pages show that strip all styles.
_MARKED = 0.4

_SWITCH = (
    # method=dialog: Enter in a form would otherwise load the page anew.
    '<form class="aphrodite-shades" method="dialog" hidden>'
    + "".join(
        f'<label class="aphrodite-{name}"><input type="radio" name="shade" value="{name}" '
        f'aria-label="shade tokens by {name}"{{{name}}}></label>'
        for name in SHADES
    )
    + "</form>"
)


def _rule(shade: Shade) -> str:
    colour = f"rgba({COLOURS[shade]},var(--{shade[0]},0))" if shade in COLOURS else "none"
    dot = f"rgb({COLOURS[shade]})" if shade in COLOURS else "currentColor"
    return (
        f".aphrodite:has([value={shade}]:checked) .aphrodite-text>*{{background:{colour}!important}}"
        f".aphrodite-{shade} :checked{{background:{dot}}}"
        f'.aphrodite-{shade}::after{{content:"{shade}"}}'
    )


STYLE = (
    "<style>"
    ".aphrodite-text>[data-shown]::before{content:attr(data-shown);opacity:.45;font-size:.8em}"
    ".aphrodite-text>:hover{outline:1px solid}"
    ".aphrodite-shades[hidden]{display:flex;gap:1em;margin:.1em 0 .4em;font-size:.8em}"
    ".aphrodite-shades label{display:inline-flex;align-items:center;gap:.35em;cursor:pointer;opacity:.6}"
    ".aphrodite-shades label:has(:checked){opacity:1}"
    ".aphrodite-shades input{appearance:none;margin:0;width:.8em;height:.8em;color:inherit;border:1px solid;"
    "border-radius:50%}" + "".join(map(_rule, SHADES)) + "</style>"
)


def switch(shade: Shade) -> str:
    """What chooses the shade, where styles stay."""
    return _SWITCH.format_map({name: " checked" if name == shade else "" for name in SHADES})


def sequence(output: CompletionOutput, shade: Shade, kept: int | None = None) -> str:
    """One sequence; its plain text where no probabilities were reported.

    Args:
        kept: how many of its first tokens are those of the sequence that it was branched off from; None is all that
            were given. They are greyed and underlined, and a token that was given behind them is bold.
    """
    body = "".join(_spans(output, shade, kept)) if output.given or output.logprobs else escape(output.text)
    given = f' data-given="{len(output.given)}"' if output.given else ""
    return f'<div class="aphrodite-text" style="{FRAME}"{given}>{body}</div>'


def _spans(output: CompletionOutput, shade: Shade, kept: int | None) -> Iterator[str]:
    first, positions = len(output.given), output.logprobs or ()
    listed = output.tokens if positions else output.tokens[:first]
    shares = Shares()
    shares.add([token.text for token in listed], output.text, is_whole=True)
    if first:
        yield from _before(shares.of[:first], first if kept is None else min(kept, first))
    drawn = zip(output.token_ids[first:], positions[first:], shares.of[first:], strict=False)
    yield from (_span(*each, shade) for each in drawn)
    yield escape(output.text[shares.end :])


def kept_text(output: CompletionOutput, kept: int) -> str:
    """The text of the first tokens of a sequence to which they were given."""
    shares = Shares()
    shares.add(output.given[:kept], output.text, is_whole=True)
    return output.text[: shares.end]


def _before(shares: Sequence[str], kept: int) -> Iterator[str]:
    """What was kept, the fork, and the token that was given there."""
    yield f'<span class="aphrodite-kept" style="{_KEPT}" title="kept">{escape("".join(shares[:kept]))}</span>'
    yield f'<span aria-hidden="true" style="opacity:.8">{FORK}</span>'
    if forced := escape("".join(shares[kept:])):
        yield f'<b title="given, not drawn">{forced}</b>'


def _span(token_id: int, position: PositionLogprobs, share: str, shade: Shade) -> str:
    drawn = position[token_id]
    unlikely, undecided = by_probability(drawn.logprob), by_entropy(drawn.entropy)
    chosen = unlikely if shade == "probability" else undecided if shade == "entropy" else 0.0
    tag = "mark" if chosen >= _MARKED else "span"
    background = f"background:rgba({COLOURS[shade]},{chosen:.2f})" if shade in COLOURS else ""
    shown = f' data-shown="{_shown(drawn.decoded_token, share)}"' if not share or "\n" in share else ""
    return (
        f'<{tag} style="--p:{unlikely:.2f};--e:{undecided:.2f};color:inherit;border-radius:.2em;{background}"{shown} '
        f'title="{tooltip(token_id, position)}">{escape(share)}</{tag}>'
    )


def _shown(token: str, share: str) -> str:
    """A sign for what would not be seen: a newline, a part of a character, a mark that the text leaves out."""
    if share:
        return "⏎"
    return "·" if "\N{REPLACEMENT CHARACTER}" in token else visible_html(token)


def tooltip(token_id: int, position: PositionLogprobs) -> str:
    """The candidates, the most likely first, with a dot at the one that was drawn; safe between quotes."""
    drawn = position[token_id]
    entropy = "" if drawn.entropy is None else f", entropy {drawn.entropy:.2f} nats"
    lines = [f"rank {drawn.rank:,}{entropy}"]
    for candidate_id, candidate in sorted(position.items(), key=lambda item: item[1].rank):
        dot = "●" if candidate_id == token_id else "○"
        lines.append(f"{dot} {percent(candidate.logprob)}  {visible_html(candidate.decoded_token)}")
    return "\n".join(lines)


def percent(logprob: float) -> str:
    """A probability for people, safe in HTML."""
    share = 100 * math.exp(logprob)
    return f"{share:.1f} %" if share >= 0.05 or share == 0 else "&lt;0.1 %"
