"""A whole page: one file that loads nothing, or one that loads what stands beside it."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.page import flame, parts
from mmaplock_bt.units import format_ns


def written(
    template: str,
    told: dict[str, Any],
    scripts: Sequence[str] = parts.SCRIPTS,
    *,
    beside: bool = False,
) -> str:
    """Returns a page with its style and scripts in it or, where they are beside it, their names."""
    names = (parts.STYLE, *scripts)
    style, *code = names if beside else map(Markup, map(parts.text, names))
    allowed = ("'self'", "'self'") if beside else (_hashes([style]), _hashes(code))
    given = {"policy": _policy(*allowed), "style": style, "scripts": code, "beside": beside}
    return _environment().get_template(template).render(given | told).rstrip("\n") + "\n"


@cache
def _environment() -> Environment:
    """Everything that is filled in is text: printable, and then escaped."""
    loader = FunctionLoader(parts.text)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, finalize=_printable)  # fmt: skip
    made.filters |= {"ns": format_ns, "grouped": "{:,}".format, "sentence": _sentence}
    made.globals["colors"] = flame.COLORS
    return made


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printable(value: Any) -> Any:
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _policy(styles: str, scripts: str) -> str:
    """Forbids every load, and every script and style but the page's own."""
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: Sequence[str]) -> str:
    return " ".join(map(_hash, texts))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
