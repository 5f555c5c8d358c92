"""`{{expr}}` in a prompt cell, over the user's own names. Single braces are text, so JSON and code survive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aphrodite.magics.errors import UsageError

if TYPE_CHECKING:  # jinja2 comes with the first template
    from jinja2.sandbox import SandboxedEnvironment

_MARK = "{{"


def fill(text: str, names: Mapping[str, Any]) -> str:
    """The text with its `{{expr}}` replaced; statements and comments of Jinja are text too.

    Raises:
        UsageError: a name that is not there, or an expression that fails; with the line.
    """
    if _MARK not in text:
        return text
    from jinja2 import TemplateError

    try:
        return _environment().from_string(text).render(names)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line} of the cell)" if line else ""
        raise UsageError(
            f"{{{{...}}}} in the prompt: {error}{where}; use --raw where braces are meant as text"
        ) from None
    except Exception as error:  # the user's own expression failed: their mistake, told in one line
        raise UsageError(f"{{{{...}}}} in the prompt failed: {type(error).__name__}: {error}") from None


def value_of(expression: str, names: Mapping[str, Any]) -> Any:
    """What a name, or an expression such as `df.question`, stands for.

    Raises:
        UsageError: there is no such thing.
    """
    from jinja2 import TemplateError, Undefined

    try:
        found = _environment().compile_expression(expression, undefined_to_none=False)(names)
        if isinstance(found, Undefined):
            str(found)  # what is strictly undefined says so
        return found
    except TemplateError as error:
        raise UsageError(f"{expression}: {error}") from None
    except Exception as error:  # the user's own expression failed: their mistake, told in one line
        raise UsageError(f"{expression}: {type(error).__name__}: {error}") from None


def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        # Only `{{ }}` means something; what no prompt holds stands for the rest of Jinja's marks.
        block_start_string="\x00{%",
        block_end_string="%}\x00",
        comment_start_string="\x00{#",
        comment_end_string="#}\x00",
    )
