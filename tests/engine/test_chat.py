"""Chat templates: what a conversation becomes, and what neither a template nor a message may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aphrodite_engine import demo
from aphrodite_engine.chat import ROLES, ChatTemplate
from aphrodite_engine.errors import ChatTemplateError, ModelError
from aphrodite_engine.tokenizer import Tokenizer
from tests.engine.tiny import byte_tokenizer

USER = {"role": "user", "content": "hello"}


def template(folder: Path, source: Any, *, as_file: bool = False) -> ChatTemplate:
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    if as_file:
        (folder / "chat_template.jinja").write_text(source)
    else:
        config["chat_template"] = source
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return ChatTemplate(Tokenizer(folder))


def rendered(folder: Path, source: str, **values: Any) -> str:
    return template(folder, source).render([USER], **values)


@pytest.fixture(scope="module")
def bundled() -> ChatTemplate:
    return ChatTemplate(Tokenizer(demo.path()))


# ---- where a template comes from


@pytest.mark.parametrize("as_file", [True, False])
def test_a_template_is_read_from_its_own_file_or_from_the_tokenizer_config(tmp_path: Path, as_file: bool) -> None:
    source = "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}{{ pad_token }}"
    assert template(tmp_path, source, as_file=as_file).render([USER]) == "<s>hello</s>"


def test_of_several_named_templates_the_default_one_is_taken(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    assert template(tmp_path, named).render([USER]) == "yes"


def test_a_model_without_a_template_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    for source in (None, [{"name": "tool_use", "template": "x"}]):
        with pytest.raises(ChatTemplateError, match="has no chat template; give a prompt to generate"):
            template(tmp_path, source)


@pytest.mark.parametrize("source", ["{% for %}", "{{ messages", "{% endfor %}", "{{ 1 | nosuchfilter }}"])
def test_a_template_that_is_not_jinja_is_refused_on_construction(tmp_path: Path, source: str) -> None:
    with pytest.raises(ChatTemplateError, match="damaged"):
        template(tmp_path, source)


def test_a_template_that_is_no_text_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="chat_template"):
        template(tmp_path, 5)


def test_a_template_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.jinja"
    outside.write_text("secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "chat_template.jinja").symlink_to(outside)
    with pytest.raises(ModelError, match="outside the model folder"):
        template(folder, "")


def test_a_template_file_that_is_not_utf8_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe{{")
    with pytest.raises(ModelError, match="UTF-8"):
        template(tmp_path, "")


# ---- what it can see


def test_values_of_the_caller_reach_the_template_but_cannot_replace_ours(tmp_path: Path) -> None:
    source = "{{ style }} {{ messages[0]['content'] }} {{ bos_token }} {{ add_generation_prompt }}"
    assert rendered(tmp_path, source, style="short", self="x") == "short hello <s> True"
    for name in ("messages", "bos_token", "eos_token", "unk_token", "pad_token"):
        with pytest.raises(ChatTemplateError, match=f"'{name}' is the engine's own"):
            rendered(tmp_path, source, **{name: "evil"})


def test_add_generation_prompt_and_tools_reach_the_template(tmp_path: Path) -> None:
    chat = template(tmp_path, "{{ add_generation_prompt }}{% if tools %}{{ tools | tojson }}{% endif %}")
    assert chat.render([USER], add_generation_prompt=False) == "False"
    assert chat.render([USER], tools=[{"name": "<é>"}]) == 'True[{"name": "<é>"}]'


def test_extensions_that_published_templates_use_work(tmp_path: Path) -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
        "{% generation %}{{ m.content | trim }}{% endgeneration %}{% break %}{% endfor %}"
        "{{ strftime_now('%Y') | length }}"
    )
    assert template(tmp_path, source).render([{"role": "system", "content": "x"}, USER, USER]) == "hello4"


def test_nothing_is_escaped_for_html(tmp_path: Path) -> None:
    assert template(tmp_path, "{{ messages[0].content }}").render([{"role": "user", "content": "<&'\">"}]) == "<&'\">"


# ---- what it must not do


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ messages.__class__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__code__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ ''['__class__'] }}{{ (''|attr('__class__')) }}",
    ],
)
def test_a_template_sees_nothing_of_pythons_insides(tmp_path: Path, source: str) -> None:
    assert rendered(tmp_path, source) == ""


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages[0].__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ messages.clear() }}",
        "{{ 'x' * 10 ** 15 }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(999999) %}x{% endfor %}",
        "{{ undefined_name.field }}",
        "{{ undefined_function() }}",
        "{{ 1 // 0 }}",
        "{{ messages['a' * 3].x }}",
        "{{ messages[0].content + 1 }}",
        "{{ [1, 2] | map('nothing') | list }}",
        "{{ '%d' % 'x' }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ strftime_now(5) }}",
        "{% include 'other' %}",
        "{% import '/etc/passwd' as x %}",
        "{{ raise_exception('roles must alternate') }}",
    ],
)
def test_a_template_that_reaches_out_or_fails_is_an_error_of_ours(tmp_path: Path, source: str) -> None:
    with pytest.raises(ChatTemplateError):
        rendered(tmp_path, source)


def test_the_templates_own_refusal_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        rendered(tmp_path, "{{ raise_exception('roles must alternate') }}")


def test_text_of_a_message_is_never_run_as_a_template(bundled: ChatTemplate) -> None:
    text = "{{ 7 * 7 }} {% for i in range(9) %}x{% endfor %} {# gone #}"
    assert text in bundled.render([{"role": "user", "content": text}])


def test_rendering_does_not_change_the_callers_messages(bundled: ChatTemplate) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    before = json.dumps(messages)
    bundled.render(messages)
    assert json.dumps(messages) == before


# ---- messages


@pytest.mark.parametrize(
    "message",
    [None, "hello", 5, [], {}, {"content": "x"}, {"role": "user"}, {"role": "user", "content": None}, ["user", "x"]],
)
def test_a_message_without_role_or_content_is_refused_with_its_place(bundled: ChatTemplate, message: Any) -> None:
    with pytest.raises(ChatTemplateError, match=r"messages\[1\]"):
        bundled.render([USER, message])


@pytest.mark.parametrize("role", ["User", "root", "", None, 5, ["user"], {"a": 1}, "x" * 10_000])
def test_an_unknown_role_is_refused_with_the_known_ones(bundled: ChatTemplate, role: Any) -> None:
    with pytest.raises(ChatTemplateError, match=", ".join(ROLES)) as caught:
        bundled.render([{"role": role, "content": "x"}])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content", [5, True, {"type": "text", "text": "x"}, [{"type": "image_url", "image_url": "x"}], ["x"], [None], b"x",
                [{"text": "x"}], [{"type": "text", "text": 5}], [{"type": "text"}]]
)  # fmt: skip
def test_content_that_is_no_text_is_refused(bundled: ChatTemplate, content: Any) -> None:
    with pytest.raises(ChatTemplateError, match=r"messages\[0\]\.content"):
        bundled.render([{"role": "user", "content": content}])


@pytest.mark.parametrize("messages", [[], None, 5, "hello", {"role": "user", "content": "x"}])
def test_what_is_no_list_of_messages_is_refused(bundled: ChatTemplate, messages: Any) -> None:
    with pytest.raises(ChatTemplateError):
        bundled.render(messages)


def test_text_parts_are_joined(bundled: ChatTemplate) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert bundled.render([{"role": "user", "content": parts}]) == bundled.render([USER])


def test_an_assistant_message_may_hold_tool_calls_in_place_of_text(bundled: ChatTemplate) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    text = bundled.render([USER, {"role": "assistant", "content": None, "tool_calls": [call]}])
    assert '"add"' in text and '{"a": 1}' in text


@given(st.text(max_size=50))
def test_any_text_reaches_the_prompt_whole(bundled: ChatTemplate, text: str) -> None:
    assert bundled.render([{"role": "user", "content": text}], add_generation_prompt=False).count(text) >= 1
