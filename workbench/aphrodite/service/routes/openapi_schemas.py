"""JSON schemas of the structures that go over the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import inspect

from aphrodite.sampling_flags import meanings
from aphrodite.service.openai.sampling import SamplingFields

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/"
_HERE = "aphrodite.service."
#: The engine's own objects, which service and client share, are dataclasses.
_STRUCTURES = (inspect.StructType, inspect.DataclassType)
_ATTRIBUTE = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.*)$")


class Schemas:
    """Schemas of requests and answers, and the components that they refer to.

    A request's field with a default may be left out. An answer's never is, unless it is UNSET or its structure omits
    defaults: that is said here, so that programs made from the document need not look for what is always there.

    Attributes:
        components: by name; those that only answers have are stricter.
    """

    def __init__(self, requests: Sequence[Any], answers: Sequence[Any]) -> None:
        types = [*requests, *answers]
        found, components = msgspec.json.schema_components(types, ref_template=REFERENCE + "{name}")
        structs = {_component_name(cls, components): cls for cls in _structs(types)}
        taken_in = {_component_name(cls, components) for cls in _structs(requests)}
        for name, cls in structs.items():
            _describe(components[name])
            if isinstance(cls, type) and issubclass(cls, SamplingFields):
                _describe_sampling(components[name])
            if name not in taken_in:
                _require_what_is_sent(components[name], cls)
        names = {name: _shown_name(cls, name) for name, cls in structs.items()}
        assert len(set(names.values())) == len(components), "two structures have the same name in the same file"
        self.components: dict[str, Schema] = {names[n]: _renamed(schema, names) for n, schema in components.items()}
        self._found = [(kind, _renamed(schema, names)) for kind, schema in zip(types, found, strict=True)]

    def of(self, wanted: Any) -> Schema:
        """The schema of one of the types, mostly a reference."""
        return next(schema for kind, schema in self._found if kind is wanted or kind == wanted)


def _structs(types: Iterable[Any]) -> list[Any]:
    """Every structure that these are made of."""
    seen: dict[Any, None] = {}
    for info in inspect.multi_type_info(list(types)):
        _collect(info, seen)
    return list(seen)


def _collect(info: Any, seen: dict[Any, None]) -> None:
    if isinstance(info, _STRUCTURES):
        if info.cls in seen:
            return
        seen[info.cls] = None
    for inner in _inner(info):
        _collect(inner, seen)


def _inner(info: Any) -> Iterator[Any]:
    """Types that a type is made of."""
    if isinstance(info, _STRUCTURES):
        yield from (field.type for field in info.fields)
    for name in ("item_type", "key_type", "value_type", "type"):
        if isinstance(inner := getattr(info, name, None), inspect.Type):
            yield inner
    for name in ("types", "item_types"):
        yield from getattr(info, name, ())


def _component_name(cls: Any, components: Mapping[str, Schema]) -> str:
    """msgspec's: the class's, or with its module where two classes have the same."""
    name = cls.__name__
    if arguments := getattr(cls, "__args__", ()):
        name += f"[{', '.join(a.__name__ if isinstance(a, type) else repr(a) for a in arguments)}]"
    name = re.sub(r"[^a-zA-Z0-9.\-_]", "_", name)
    return name if name in components else f"{cls.__module__}.{cls.__qualname__}"


def _shown_name(cls: Any, name: str) -> str:
    """Page[File] -> 'FilePage'; openai.shapes.Usage -> 'OpenaiShapesUsage' where there are two of that name."""
    if arguments := getattr(cls, "__args__", ()):
        return "".join(argument.__name__.capitalize() for argument in arguments) + cls.__name__
    words = re.findall(r"[a-z]+", name.removeprefix(_HERE).rpartition(".")[0])
    return "".join(map(str.capitalize, words)) + cls.__name__


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """The schema with our names in its references, which a union's `discriminator` holds too."""
    if isinstance(schema, dict):
        return {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(schema, str) and schema.startswith(REFERENCE):
        return REFERENCE + names[schema.removeprefix(REFERENCE)]
    return [_renamed(item, names) for item in schema] if isinstance(schema, list) else schema


def _require_what_is_sent(schema: Schema, cls: Any) -> None:
    cls = getattr(cls, "__origin__", cls)
    if not issubclass(cls, msgspec.Struct):
        return  # a dataclass, of which msgspec says what has no default
    if cls.__struct_config__.omit_defaults:
        return
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    for field in msgspec.structs.fields(cls):
        if field.default is not msgspec.UNSET:
            required.add(field.encode_name)
            properties[field.encode_name].pop("default", None)
        if field.encode_name == "object" and isinstance(field.default, str):
            properties["object"] = {"const": field.default}
    schema["required"] = [name for name in properties if name in required]


def _describe(schema: Schema) -> None:
    """Moves what the docstring says of attributes to their properties."""
    text, _, attributes = cleandoc(schema.get("description", "")).partition("\n\nAttributes:\n")
    if text:
        schema["description"] = " ".join(text.split())
    names: list[str] = []
    for line in attributes.splitlines():
        if begun := _ATTRIBUTE.match(line):
            names, said = begun["names"].split(", "), begun["text"]
        else:
            said = line.strip()
        for name in names:
            found = schema["properties"].get(name)
            if found is not None and said:
                found["description"] = f"{found.get('description', '')} {said}".strip()


def _describe_sampling(schema: Schema) -> None:
    """Sampling fields mean the same everywhere: what the engine's own documentation says of them."""
    said = meanings()
    for name in SamplingFields.__struct_fields__:
        schema["properties"][name].setdefault("description", said[name].replace("None", "null"))
