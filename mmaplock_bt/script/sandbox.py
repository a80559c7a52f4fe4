"""Jinja as templates get it: plain data and a few filters, no object's attributes and methods.

Jinja's own sandbox refuses what it knows to be dangerous; here nothing is reached but what is
listed.
"""

from contextlib import suppress
from typing import Any

from jinja2 import (
    BaseLoader,
    FunctionLoader,
    StrictUndefined,
    Undefined,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from mmaplock_bt import resources
from mmaplock_bt.script.check import BASE, PARTS
from mmaplock_bt.script.compiled import Compiled
from mmaplock_bt.spec.declaration import SUFFIX, Template

# What the shipped templates and those of a user's may need. None makes much out of little.
FILTERS = frozenset({
    "abs", "count", "d", "default", "first", "int", "join", "last", "length", "list", "lower",
    "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select",
    "selectattr", "sort", "string", "sum", "trim", "unique", "upper",
})  # fmt: skip
ASKS = frozenset(["filter", "test"])  # tests for names of Jinja's own
GLOBALS = frozenset(["namespace", "range"])
_LOOP = frozenset(
    ["index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem", "nextitem"]
)
_USERS = f"./user{SUFFIX}"  # no file in the shipped folder is called so


class PlainEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with attributes of dictionaries (their items), loops and namespaces only.

    `own` is the template's name in it; `base` is what it extends in the base's stead.
    """

    def __init__(self, template: Template, base: str = BASE) -> None:
        self._base = base + SUFFIX
        self.own = f"{template.name}{SUFFIX}" if template.is_shipped else _USERS
        # A name that a template misspells is an error, not an empty text.
        super().__init__(
            loader=_loader(self.own, template.source), undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, bytecode_cache=Compiled(),
        )  # fmt: skip
        self.filters = {name: made for name, made in self.filters.items() if name in FILTERS}
        self.globals = {name: made for name, made in self.globals.items() if name in GLOBALS}
        self.tests = {name: made for name, made in self.tests.items() if name not in ASKS}

    def join_path(self, template: str, parent: str) -> str:
        """Returns the name of what a template extends or includes."""
        return self._base if template == BASE + SUFFIX else super().join_path(template, parent)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Returns an item, as `params.threshold`. Raises SecurityError for other objects."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        if type(obj) is dict:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if (type(obj) is LoopContext and attribute in _LOOP) or (
            type(obj) is Namespace and not attribute.startswith("_")
        ):
            return getattr(obj, attribute)
        raise SecurityError(f"'.{attribute}' of {type(obj).__name__}: only plain data is given")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Returns an item of plain data by key or place."""
        if type(obj) in (dict, list, tuple, str):
            with suppress(TypeError, LookupError):
                return obj[argument]
            return self.undefined(obj=obj, name=argument)
        return self.getattr(obj, str(argument))


def _loader(own: str, text: str) -> BaseLoader:
    def source(name: str) -> str | tuple[str, str, None] | None:
        if name == own:
            return text, own, None
        # {% include %} reads nothing else.
        is_part = name.removesuffix(SUFFIX) in PARTS
        return (resources.shipped("templates") / name).read_text("utf-8") if is_part else None

    return FunctionLoader(source)
