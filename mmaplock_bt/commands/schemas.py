"""schema: JSON Schemas of the files that people and programs write and read."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter

from mmaplock_bt.commands.output import dump
from mmaplock_bt.result.model import SCHEMA, Result
from mmaplock_bt.spec.budget import BudgetFile
from mmaplock_bt.spec.columns import STANDARD
from mmaplock_bt.spec.declaration import Declaration
from mmaplock_bt.spec.profile import ProfileFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# What rows hold beside the standard columns.
_FIGURES = {
    "key": "what tells this row from the others",
    "count": "how many",
    "sum": "of the values; null: not kept",
    "max": "of the values; null: not kept",
    "buckets": "[low, high, count] each, both ends inclusive; null is an open end",
    "quantiles": "p50 to p99.9, each the interval [low, high] in which it lies",
    "count_error": "of a count scaled up from one lock in N: right 19 times in 20",
    "sum_error": "of a sum scaled up from one lock in N: right 19 times in 20",
    "count_permille": "of another output's count, in thousandths",
    "sum_permille": "of another output's sum, in thousandths",
    "period_ns": "after how long it comes again; null: no rhythm",
    "period_error_ns": "how far the rhythm is off at most",
    "cells": "[step, low, high, count] each, both ends inclusive, of steps as in ends_ns",
    "overlap_ns": "for how long it overlapped the wait",
    "kind": "what its rows look like",
}
Schema = dict[str, Any]


def main(arguments: argparse.Namespace) -> int:
    """Prints the schema that is asked for."""
    dump(schema(arguments.what))
    return 0


def schema(what: str) -> Schema:
    """Returns the JSON Schema of a profile, template, budget or result file."""
    made = _SCHEMAS[what]()
    version = SCHEMA if what == "result" else 1
    _describe(made)
    return {"$schema": DIALECT, "$id": f"urn:mmaplock-bt:schema:{what}:{version}", **made}


_SCHEMAS: dict[str, Callable[[], Schema]] = {
    "profile": ProfileFile.model_json_schema,
    "template": Declaration.model_json_schema,
    "budget": BudgetFile.model_json_schema,
    "result": TypeAdapter(Result).json_schema,
}
KINDS = tuple(_SCHEMAS)


def _describe(made: Schema) -> None:
    """Adds the standard columns' help to the properties of rows."""
    for inner in _objects(made):
        for name, item in inner.get("properties", {}).items():
            known = STANDARD[name].help if name in STANDARD else _FIGURES.get(name)
            if known and "description" not in item:
                item["description"] = known


def _objects(at: Any) -> Iterator[Schema]:
    if isinstance(at, dict):
        yield at
    for inner in at.values() if isinstance(at, dict) else at if isinstance(at, list) else ():
        yield from _objects(inner)
