"""YAML checked by a model: every fault has its line and column."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from mmaplock_bt.spec.plain_yaml import Document, Path

Model = TypeVar("Model", bound=BaseModel)


def check(document: Document, model: type[Model]) -> Model | None:
    """Validates the data by a model; what pydantic finds joins the document's faults.

    Returns the model of the top-level keys without faults, so that the caller can look for more
    before raise_faults(); None where even that is invalid.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        for fault in found:
            document.fault(_in_file(fault["loc"], model), sentence(fault, model))
        wrong = {fault["loc"][0] for fault in found if fault["loc"]}
    try:
        return model.model_validate({k: v for k, v in document.data.items() if k not in wrong})
    except ValidationError:
        return None


def sentence(fault: Any, model: type[BaseModel]) -> str:
    """Writes one of pydantic's faults as a short sentence."""
    if fault["type"] == "extra_forbidden":
        return f"unknown key{_allowed(model, fault['loc'])}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "missing":
        return "this key is missing"
    return f"{fault['msg'][0].lower()}{fault['msg'][1:]}"


def _allowed(model: type[BaseModel], loc: Path) -> str:
    """The keys allowed beside an unknown one."""
    at: Any = model
    for part in loc[:-1]:
        at, _ = _step(at, part)
    keys = [key for _, kind in _kinds(at) for key in getattr(kind, "model_fields", {})]
    return f", allowed: {', '.join(keys)}" if keys else ""


def _in_file(loc: Path, model: type[BaseModel]) -> Path:
    """A fault's path as it stands in the file: without the tags of a union's members."""
    at: Any = model
    path: Path = ()
    for part in loc:
        at, is_tag = _step(at, part)
        path = path if is_tag else (*path, part)
    return path


def _step(annotation: Any, part: str | int) -> tuple[Any, bool]:
    """The type at `part` of a type, and whether the part is a union's tag; None: unknown."""
    for tag, kind in _kinds(annotation):
        if tag is not None and tag == part:
            return kind, True
        if part in getattr(kind, "model_fields", {}):
            return kind.model_fields[part].annotation, False
        if get_origin(kind) in (dict, list):
            return get_args(kind)[-1], False
    return None, False


def _kinds(annotation: Any, tag: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """A type's alternatives, each with its tag."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        named = next((mark.tag for mark in marks if isinstance(mark, Tag)), tag)
        yield from _kinds(inner, named)
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _kinds(one, tag)
    elif annotation is not None:
        yield tag, annotation
