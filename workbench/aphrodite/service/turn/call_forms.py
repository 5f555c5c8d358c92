"""How models write tool calls in their text, as their chat templates tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CallForm:
    """One way: each call is a JSON object with a name and arguments.

    Attributes:
        marker: text before calls; "" where a call is known by its brace, with which the reply then begins.
        opening, closing: between marker and object, and after it, as the model was taught to write them.
        joint: between two calls.
        arguments_key: what the object calls its arguments.
        marks_each: every call has its own marker and closing; otherwise one list of calls follows one marker.
        id_length: of a call's id, where templates insist on one.
    """

    marker: str
    opening: str
    closing: str
    joint: str
    arguments_key: str = "arguments"
    marks_each: bool = False
    id_length: int | None = None


HERMES = CallForm("<tool_call>", "\n", "\n</tool_call>", "\n", marks_each=True)
LLAMA = CallForm("", "", "", "; ", "parameters")
MISTRAL = CallForm("[TOOL_CALLS]", " [", "]", ", ", id_length=9)
#: Those that models choose to write, in words.
KNOWN_FORMS = ("<tool_call> as Hermes and Qwen", "JSON with parameters as Llama 3", "[TOOL_CALLS] as Mistral")
#: What a forced call is written in where the template has no form that is known here.
PLAIN = CallForm("", "[", "]", ", ")


def form_of(template_source: str) -> CallForm | None:
    """The form a template teaches; None where it teaches none, or one that is not known here."""
    if "<tool_call>" in template_source:
        # Qwen3-Coder and GLM write XML between the same tags.
        return None if "<function=" in template_source or "<arg_key>" in template_source else HERMES
    if "[TOOL_CALLS]" in template_source:
        return None if "[ARGS]" in template_source or "[CALL_ID]" in template_source else MISTRAL
    if '"parameters"' in template_source and ("<|python_tag|>" in template_source or "ipython" in template_source):
        return LLAMA
    return None
