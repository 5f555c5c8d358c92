"""A button that copies a text of the page; also where the browser keeps its clipboard from pages without TLS."""

from __future__ import annotations

import gradio as gr

_COPY = """async (text) => {
  if (navigator.clipboard && window.isSecureContext) await navigator.clipboard.writeText(text);
  else {
    const area = Object.assign(document.createElement("textarea"), {value: text});
    document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
  }
  return text;
}"""


def copy_button(label: str, text: gr.Textbox, elem_id: str) -> gr.Button:
    """The button; it works once there is a text."""
    button = gr.Button(label, size="sm", interactive=False, elem_id=elem_id)
    button.click(None, text, None, js=_COPY, api_visibility="private").then(
        None, None, button, js='() => "Copied"', api_visibility="private"
    ).then(
        None, None, button, js=f'() => new Promise((done) => setTimeout(() => done("{label}"), 1200))',
        api_visibility="private",
    )  # fmt: skip
    return button
