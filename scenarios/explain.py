"""From pydantic's account of a wrong recipe to one sentence: field, what was found, what is valid, the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from ..agent.settings import in_plain_words
from ..errors import RecipeError
from ..streams.spec import AnyStreamSpec


def explain(error: ValidationError, model: type[BaseModel], where: str) -> RecipeError:
    """Say in one sentence what is wrong first.

    Args:
        error: What validating `model` raised.
        model: The model.
        where: The file, or "--set".

    Returns:
        The error to raise.
    """
    first = error.errors()[0]
    path, inside, field = _locate(model, first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return RecipeError(where, ".".join(path), short(first["input"]), _no_such_field(path, inside, model))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path.append(str(context["discriminator"]).strip("'"))
        found = context.get("tag")
        tags = [each.strip("'") for each in str(context.get("expected_tags", _tags(field))).split(", ")]
        return RecipeError(where, ".".join(path), found, f"valid are {', '.join(tags)}{_nearest(found, tags)}")
    about = (field.description or "").rstrip(".").replace("\n", " ") if field else ""
    if kind == "missing":
        return RecipeError(where, ".".join(path), None, f"this field is needed: {about}" if about else "it is needed")
    message = in_plain_words(first["msg"])
    if kind in ("literal_error", "enum"):
        message += _nearest(first["input"], re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    if field is not None and _is_open_union(field.annotation):
        message = about  # what one member of the union wants would mislead
    elif about:
        message += f" ({about})"
    return RecipeError(where, ".".join(path), short(first["input"]), message)


def short(found: object) -> object:
    """Shorten what was found for a message: long tables and lists by their size, long texts by their beginning."""
    if isinstance(found, dict | list | tuple) and len(repr(found)) > 80:
        return f"{'a table' if isinstance(found, dict) else 'a list'} of {len(found)}"
    return found[:77] + "..." if isinstance(found, str) and len(found) > 80 else found


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel], FieldInfo | None]:
    """Follow pydantic's location through the types.

    Returns:
        The path without the names of union members, the model that holds its last field, and that field's description.
    """
    path: list[str] = []
    here: Any = model
    inside, field = model, None
    for piece in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            inside, field = here, here.model_fields.get(str(piece))
            path.append(str(piece))
            here = field.annotation if field else None
        elif members := _members(here):
            here = next((each for each in members if each.model_fields["layout"].default == piece), None)
        elif get_origin(here) in (tuple, list, dict):
            path.append(str(piece))
            here = get_args(here)[1 if get_origin(here) is dict else 0]
        else:
            break
    return path, inside, field


def _union(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    is_union = origin is Union or getattr(origin, "__name__", "") == "UnionType"
    return get_args(annotation) if is_union else ()


def _members(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Return the members of a union of models that a field "layout" tells apart."""
    members = _union(annotation)
    models = [each for each in members if isinstance(each, type) and issubclass(each, BaseModel)]
    return tuple(models) if len(models) == len(members) else ()


def _is_open_union(annotation: Any) -> bool:
    members = [each for each in _union(annotation) if each is not type(None)]
    return len(members) > 1 and not _members(annotation)


def _tags(field: FieldInfo | None) -> str:
    return ", ".join(str(each.model_fields["layout"].default) for each in _members(field.annotation if field else None))


def _tags_with(name: str) -> list[str]:
    """List the layouts of streams that have a field."""
    return [str(each.model_fields["layout"].default) for each in get_args(AnyStreamSpec) if name in each.model_fields]


def _nearest(found: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(found), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _no_such_field(path: list[str], inside: type[BaseModel], model: type[BaseModel]) -> str:
    """Name the fields there are, and the one that was meant: of a similar name here, or of this name elsewhere."""
    fields, name = list(inside.model_fields), path[-1]
    hint = _nearest(name, fields)
    if not hint:
        layouts = [each for each in _tags_with(name) if "layout" in fields and len(path) == 2]
        elsewhere = [each for each in _fields(model) if each.rpartition(".")[2] == name and each != ".".join(path)]
        hint = f" (did you mean {elsewhere[0]!r}?)" if elsewhere else ""
        hint = f" in this layout (it is one of {' and '.join(map(repr, layouts))})" if layouts else hint
    return f"there is no such field{hint}; here are {', '.join(fields)}"


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """List the dotted path of every field."""
    for name, field in model.model_fields.items():
        yield prefix + name
        inner = (field.annotation, *_members(field.annotation))
        for each in inner:
            if isinstance(each, type) and issubclass(each, BaseModel):
                yield from _fields(each, f"{prefix}{name}.")
