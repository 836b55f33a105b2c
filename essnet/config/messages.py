"""Validation errors in the user's words: one line, the dotted path as it was written, a suggestion."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from essnet.config.errors import InputError
from essnet.config.extension_names import DATA_SETS, IMPORT_PATH, installed
from essnet.config.tracking_address import without_secrets

Model = TypeVar("Model", bound=BaseModel)


def validate(schema: type[Model], values: Any, *, where: Callable[[str], str]) -> Model:
    """Validate `values` against `schema`.

    Parameters
    ----------
    schema
        The pydantic model.
    values
        Plain mappings, lists and scalars.
    where
        Says for a dotted path what stands before it in a message: the file's name, for example.

    Raises
    ------
    InputError
        With one line for the first problem found, and the number of the others.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        path, text = first_problem(schema, error)
        raise InputError(in_one_line(where(path), path, text)) from None


def first_problem(schema: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """Return the dotted path of the first problem that was found, and its text with the number of the others."""
    problems = error.errors(include_url=False)
    path, text = _describe(schema, problems[0])
    return path, f"{text} (and {len(problems) - 1} more)" if len(problems) > 1 else text


def in_one_line(*parts: str) -> str:
    """Return file, path and text as one message; those that are empty are left out."""
    return ": ".join(part for part in parts if part)


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean x?`, or the list of what is known where nothing comes near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    return f"; known are {', '.join(prefix + word for word in known)}"


def _describe(schema: type[BaseModel], problem: Any) -> tuple[str, str]:
    """Return the dotted path and the text of one pydantic problem."""
    steps, parent = _walk(schema, problem["loc"])
    path = ".".join(steps)
    kind, found, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden" and parent is not None:
        block = ".".join(steps[:-1])
        prefix = f"{block}." if block else ""
        return path, f"unknown key{did_you_mean(steps[-1], parent.model_fields, prefix=prefix)}"
    if kind == "missing":
        return path, "is missing"
    if kind == "union_tag_not_found" and isinstance(found, dict):
        return f"{path}.name", f"is missing; one of {', '.join(_tags(parent, steps[-1]))}"
    if kind == "union_tag_invalid":
        name = found["name"]
        return f"{path}.name", f"found {_shorten(name)}{did_you_mean(str(name), _tags(parent, steps[-1]))}"
    if kind == "literal_error":
        return path, f"found {_shorten(found)}; one of {context['expected']}"
    if kind == "value_error":
        return path, str(context["error"])
    if kind in ("model_type", "model_attributes_type", "dict_type", "union_tag_not_found"):
        return path, f"found {_shorten(found)}; expected a block of keys"
    if kind in ("too_short", "string_too_short", "too_long"):
        least, most = context.get("min_length"), context.get("max_length")
        bound = f"at least {least}" if least is not None else f"at most {most}"
        unit = "character" if kind == "string_too_short" else "item"
        return path, f"found {_shorten(found)}; expected {bound} {unit}{'' if (least or most) == 1 else 's'}"
    return path, f"found {_shorten(found)}; {_lower_first(problem['msg'])}"


def _walk(schema: type[BaseModel], location: tuple[str | int, ...]) -> tuple[list[str], type[BaseModel] | None]:
    """Follow a pydantic location through the models; leave out the steps that no user wrote (union tags)."""
    steps: list[str] = []
    models: list[type[BaseModel]] = [schema]
    parent: type[BaseModel] | None = schema
    for step in location:
        tagged = [model for model in models if len(models) > 1 and _tag_of(model) == step]
        if tagged:
            models = tagged
            continue
        # A field may have a type's name too (`{int: [1, 8]}`); the members of a union stand below a field.
        if not models and isinstance(step, str) and (step in _TYPE_STEPS or "[" in step):
            continue  # a member of a plain union such as `int | list[int]`
        parent = models[0] if len(models) == 1 else None
        steps.append(str(step))
        field = parent.model_fields.get(str(step)) if parent else None
        models = _models_in(field.annotation) if field else []
    return steps, parent


_TYPE_STEPS = {
    "int",
    "float",
    "str",
    "bool",
    "none",
    "constrained-int",
    "constrained-float",
    "constrained-str",
}


def _tags(parent: type[BaseModel] | None, field: str) -> list[str]:
    """Return the names that choose among the models of a field."""
    models = _models_in(parent.model_fields[field].annotation) if parent else []
    tags = [str(_tag_of(model)) for model in models]
    return [*tags, *installed(DATA_SETS)] if IMPORT_PATH in tags else tags


def _tag_of(model: type[BaseModel]) -> object:
    field = model.model_fields.get("name")
    tags = get_args(field.annotation) if field else ()
    if field and field.annotation is str:
        return IMPORT_PATH  # the block of what other packages offer has any name
    return tags[0] if len(tags) == 1 else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


_SHORT = reprlib.Repr()  # never builds the whole text of a huge value
_SHORT.maxstring = _SHORT.maxother = 80


def _shorten(value: object) -> str:
    # First, for what is cut may end in the middle of a password.
    text = without_secrets(_SHORT.repr(without_secrets(value) if isinstance(value, str) else value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _lower_first(message: str) -> str:
    message = message.removeprefix("Input should be ")
    return f"expected {message[:1].lower()}{message[1:]}"
