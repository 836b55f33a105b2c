"""The keys of a trial by their dotted paths: which there are, what stands there, what may stand there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from essnet.config.extension_names import DATA_SETS, is_extension
from essnet.config.fields import Block
from essnet.config.trial import TrialConfig


def key_paths(schema: type[BaseModel] = TrialConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every key of a trial, those of all data sets among them."""
    for name, field in schema.model_fields.items():
        blocks = _blocks_in(field.annotation)
        for block in blocks:
            yield from key_paths(block, f"{prefix}{name}.")
        if not blocks:
            yield f"{prefix}{name}"


def can_be(path: str, value: object) -> bool:
    """Return whether the schema lets a key have a value, whatever the others are."""
    for field in _fields(path):
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field], config=Block.model_config)  # type: ignore[arg-type]  # not known to mypy as a type
            adapter.validate_python(value)
        except ValidationError:
            continue
        return True
    return False


def value_at(values: Mapping[str, Any], path: str, point: Mapping[str, Any]) -> Any:
    """Return what stands at `path` in a trial: set by `point`, written in `values`, or else the schema's default.

    Raises
    ------
    KeyError
        If nothing stands there: another data set's key, or one that has no default.
    """
    if path in point:
        return point[path]
    *blocks, leaf = path.split(".")
    schema: type[BaseModel] = TrialConfig
    prefix = ""
    for name in blocks:
        prefix += f"{name}."
        inner = values.get(name) or {}
        values = inner if isinstance(inner, Mapping) else {}
        kinds = _blocks_in(schema.model_fields[name].annotation)
        tag = point.get(f"{prefix}name", values.get("name"))
        chosen = kinds if len(kinds) == 1 else [kind for kind in kinds if _has_name(kind, tag)]
        if not chosen:
            raise KeyError(path)
        schema = chosen[0]
    field = schema.model_fields[leaf]
    if leaf in values:
        return values[leaf]
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        raise KeyError(path)
    return default


def _fields(path: str) -> list[FieldInfo]:
    """The fields that a path may mean; several where data sets have the same key."""
    schemas: list[type[BaseModel]] = [TrialConfig]
    fields: list[FieldInfo] = []
    for name in path.split("."):
        fields = [schema.model_fields[name] for schema in schemas if name in schema.model_fields]
        schemas = [block for field in fields for block in _blocks_in(field.annotation)]
    return [] if schemas else fields


def _has_name(schema: type[BaseModel], name: object) -> bool:
    field = schema.model_fields["name"].annotation
    return is_extension(name, DATA_SETS) if field is str else name in get_args(field)


def _blocks_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [block for part in get_args(annotation) for block in _blocks_in(part)]
