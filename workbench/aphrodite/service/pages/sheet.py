"""The few plain pages that the service writes itself: nothing to load, light or dark as the reader's system is."""

from __future__ import annotations

from aphrodite.service.http.replies import Reply

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --ground: #f6f7f9; --card: #fff; --line: #d9dee5;
  --accent: #0f766e; --wrong: #b42318 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --ground: #0e1116; --card: #171b22;
  --line: #2b323d; --accent: #2dd4bf; --wrong: #ff9b8f } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif }
main { width: 100%; max-width: 26rem; padding: 2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px }
h1 { margin: 0 0 .5rem; font-size: 1.35rem } p { margin: .6rem 0; color: var(--soft) }
a { color: var(--accent) } code { font: .9em ui-monospace, monospace; color: var(--ink) }
label { display: block; margin-top: 1.1rem; font-weight: 600 }
input, button { width: 100%; margin-top: .5rem; padding: .6rem .75rem; border-radius: 8px; font: inherit }
input { border: 1px solid var(--line); background: var(--ground); color: var(--ink) }
button { border: 0; background: var(--accent); color: var(--card); font-weight: 600; cursor: pointer }
.wrong { color: var(--wrong) }
.busy { height: 3px; margin-top: 1.2rem; border-radius: 2px; background: var(--line); overflow: hidden }
.busy::after { content: ""; display: block; width: 35%; height: 100%; background: var(--accent);
  animation: along 1.2s ease-in-out infinite alternate }
@keyframes along { from { margin-left: 0 } to { margin-left: 65% } }
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)


def sheet(body: str, status: int = 200, head: str = "") -> Reply:
    """A page of one card.

    Args:
        body: HTML.
        head: further elements of the head.
    """
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Aphrodite</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style>{head}</head><body><main>{body}</main></body></html>"
    )
    reply = Reply(text.encode(), status, "text/html; charset=utf-8")
    reply.headers |= {
        "cache-control": "no-store",
        "content-security-policy": _POLICY,
        "referrer-policy": "same-origin",  # with none at all, a form would not say where it comes from
        "x-content-type-options": "nosniff",
    }
    return reply
