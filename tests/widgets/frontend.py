"""A front end for one widget: a page that gives its JavaScript a model with the widget's state, as anywidget does."""

from __future__ import annotations

import base64
import json
from typing import Any

import anywidget
from playwright.sync_api import Page

#: What a notebook's theme sets, in two of them.
_COLOURS = ("--jp-layout-color1", "--jp-ui-font-color1", "--jp-content-font-color1")
THEMES = {
    "light": dict(zip(_COLOURS, ("#fff", "rgba(0,0,0,.87)", "#212121"), strict=True)),
    "dark": dict(zip(_COLOURS, ("#212121", "#fff", "#fff"), strict=True)),
}

_RENDER = """
async ([code, state]) => {
  const listeners = {};
  const model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; (listeners[`change:${name}`] ?? []).forEach((react) => react()); },
    sent: [],
    send: (message) => model.sent.push(message),
    save_changes: () => { model.saved = { ...state }; },
    on: (name, react) => (listeners[name] ??= []).push(react),
    off: (name, react) => { listeners[name] = listeners[name].filter((each) => each !== react); },
  };
  const { default: widget } = await import(`data:text/javascript;base64,${code}`);
  window.model = model;
  window.listeners = listeners;
  window.leave = widget.render({ model, el: document.getElementById("widget") });
}
"""


def render(page: Page, widget: anywidget.AnyWidget, theme: str = "light") -> None:
    """Show the widget; `model` and `leave()`, which takes it away, are the page's own afterwards."""
    variables = ";".join(f"{name}:{value}" for name, value in THEMES[theme].items())
    colours = "background:var(--jp-layout-color1);color:var(--jp-ui-font-color1);font:14px system-ui;margin:2em"
    page.set_content(f'<!doctype html><body style="{variables};{colours}"><div id="widget"></div>')
    state = widget.get_state()
    code = base64.b64encode(str(state["_esm"]).encode()).decode()
    page.evaluate(_RENDER, [code, json.loads(json.dumps({k: v for k, v in state.items() if k[0] != "_"}, default=str))])


def sent(page: Page) -> list[Any]:
    """The messages that the kernel would have got."""
    return page.evaluate("window.model.sent")


def trait(page: Page, name: str) -> Any:
    """What the kernel would have been told."""
    return page.evaluate("name => window.model.saved?.[name]", name)
