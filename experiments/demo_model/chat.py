"""How a conversation becomes text.

The Jinja template is what ships; the Python below writes the same text for training, with the parts to learn marked.
"""

import json

from skills.item import Item, Message
from tokenizers import Tokenizer

BEGIN, END, TURN_END = "<|begin|>", "<|end|>", "<|turn_end|>"
SYSTEM, USER, ASSISTANT, TOOL = "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"
CALL, CALL_END = "<tool_call>", "</tool_call>"
SPECIAL = (BEGIN, END, SYSTEM, USER, ASSISTANT, TOOL, TURN_END)
MARKERS = (CALL, CALL_END)

TEMPLATE = """\
{{- '<|begin|>' -}}
{%- set first = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' -%}
{%- if first or tools -%}
{{- '<|system|>' + first -}}
{%- if tools -%}
{{- '\\n\\nTools:' if first else 'Tools:' -}}
{%- for tool in tools -%}
{{- '\\n' + (tool | tojson) -}}
{%- endfor -%}
{%- endif -%}
{{- '<|turn_end|>' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>' -}}
{%- if message['content'] -%}{{- message['content'] -}}{%- endif -%}
{%- for call in message['tool_calls'] or [] -%}
{%- set function = call['function'] if call['function'] else call -%}
{%- set arguments = function['arguments'] -%}
{{- '<tool_call>\\n{"name": "' + function['name'] + '", "arguments": ' -}}
{{- arguments if arguments is string else (arguments | tojson) -}}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|turn_end|>' -}}
{%- elif message['role'] == 'user' or message['role'] == 'tool' -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|turn_end|>' -}}
{%- elif message['role'] != 'system' -%}
{{- raise_exception('unknown role: ' + message['role']) -}}
{%- elif not loop.first -%}
{{- raise_exception('a system message may only come first') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"""

Piece = tuple[str, bool]


def spoken(message: Message) -> str:
    """What the assistant says in a message, calls included."""
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = [
        f'{CALL}\n{{"name": "{function["name"]}", "arguments": {json.dumps(function["arguments"])}}}\n{CALL_END}'
        for function in functions
    ]
    return message["content"] + "".join(calls)


def opening(item: Item) -> str:
    """The begin token and the system block, if any."""
    first = item.messages[0]["content"] if item.messages[0]["role"] == "system" else ""
    if not (first or item.tools):
        return BEGIN
    tools = "Tools:" + "".join("\n" + json.dumps(tool) for tool in item.tools) if item.tools else ""
    return BEGIN + SYSTEM + first + ("\n\n" if first and tools else "") + tools + TURN_END


def turns(item: Item) -> list[Piece]:
    """The turns after the opening as (text, learned) pieces; an answer is learned, a question is not."""
    pieces: list[Piece] = []
    for message in item.messages:
        if message["role"] == "assistant":
            pieces += [(ASSISTANT, False), (spoken(message) + TURN_END, True)]
        elif message["role"] != "system":
            pieces.append((f"<|{message['role']}|>{message['content']}{TURN_END}", False))
    return pieces


def prompt(item: Item) -> str:
    """The text up to the last answer, as the template renders it with a generation prompt."""
    return opening(item) + "".join(text for text, _ in turns(item)[:-1])


def stops(tokenizer: Tokenizer) -> list[int]:
    """The tokens that end a generation: the end of a text and the end of a turn."""
    found = [tokenizer.token_to_id(END), tokenizer.token_to_id(TURN_END)]
    return [token for token in found if token is not None]
