"""The blocks of an analysis as functions: for an engine that is no bpftrace.

What a block may say here is what shipped ones need: `if`, `else`, values of its own, arithmetic of
64 bits without a sign, record() and owner(). Whatever asks the kernel something (a map, a stack, a
structure) is refused by name. Nothing of the text is executed: it becomes functions of this module.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mmaplock_bt.errors import UsageError
from mmaplock_bt.escaping import shown

Values = dict[str, int]  # of a block's $names, without the dollar
Expression = Callable[[Values], int]
Statement = Callable[[Values], None]
Record = Callable[[str, int, Values], None]
Owner = Callable[[Values], None]


def _nothing(_values: Values) -> None:
    pass


def _passed_over(_name: str, _value: int, _values: Values) -> None:
    pass


_BITS = 2**64 - 1
_TOKEN = re.compile(
    r"\s+|//[^\n]*|/\*.*?\*/"
    r"|(?P<word>\$?[A-Za-z_]\w*|\d+|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>=(){},;])",
    re.DOTALL,
)
_CAST = re.compile(r"u?int(8|16|32|64)")
_LEVELS: tuple[dict[str, Callable[[int, int], int]], ...] = (
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"==": operator.eq, "!=": operator.ne},
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
    {"<<": lambda a, b: a << (b & 63), ">>": lambda a, b: a >> (b & 63)},
    {"+": operator.add, "-": operator.sub},
    # As BPF divides: by zero it is 0, and the rest is all.
    {"*": operator.mul, "/": lambda a, b: a // b if b else 0, "%": lambda a, b: a % b if b else a},
)


class Unserved(UsageError):
    """A template that asks for what only bpftrace can tell. The sentence names it."""


@dataclass(frozen=True)
class Block:
    """What a block does with its values, which outputs it may fill, which values it asks for."""

    run: Callable[[Values], None]
    records: frozenset[str]
    names: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether it does nothing at all."""
        return self.run is _nothing


def parse(text: str, record: Record = _passed_over, owner: Owner = _nothing) -> Block:
    """Reads a block's rendered text; `record` and `owner` do what it asks for. Raises Unserved."""
    made = _Parser(list(_tokens(text)), record, owner)
    statements = made.statements()
    run = _all_of(statements) if statements else _nothing
    return Block(run, frozenset(made.records), frozenset(made.names))


def expression(text: str) -> Expression:
    """Reads an expression, as a column of a template's own has it. Raises Unserved."""
    parser = _Parser(list(_tokens(text)))
    found = parser.expression()
    parser.end()
    return found


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # the parser names it, if nothing before it
            yield _first(text[at:])
            return
        if found["word"]:
            yield found["word"]
        at = found.end()


def _first(text: str) -> str:
    """What cannot be read, up to where it might end."""
    return shown(re.split(r"[\s;,)\[]", text, maxsplit=1)[0] or text[:1], 40)


@dataclass
class _Parser:
    tokens: list[str]
    record: Record = _passed_over
    owner: Owner = _nothing
    at: int = 0
    depth: int = 0
    records: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def statements(self) -> list[Statement]:
        """All statements up to the end."""
        found = []
        while self.at < len(self.tokens):
            found.append(self._statement())
        return found

    def end(self) -> None:
        """Raises Unserved where something follows."""
        if self.at < len(self.tokens):
            raise Unserved(f"'{shown(self.tokens[self.at], 40)}'")

    def _statement(self) -> Statement:
        word = self._next()
        if word == "if":
            return self._if()
        if word == "owner":
            self._all("(", ")", ";")
            return self.owner
        if word == "record":
            return self._record()
        if word == "{":
            self.at -= 1
            return _all_of(self._body())
        if word.startswith("$") and self._peek() == "=":
            self._all("=")
            name, value = word[1:], self.expression()
            self._all(";")

            def assign(values: Values) -> None:
                values[name] = value(values)

            return assign
        raise Unserved(f"'{shown(word, 40)}'")

    def _if(self) -> Statement:
        self._all("(")
        asked = self.expression()
        self._all(")")
        then, other = _all_of(self._body()), None
        if self._peek() == "else":
            self._next()
            other = self._statement() if self._peek() == "if" else _all_of(self._body())

        def branch(values: Values) -> None:
            if asked(values):
                then(values)
            elif other is not None:
                other(values)

        return branch

    def _record(self) -> Statement:
        self._all("(")
        name = self._next()
        self._all(",")
        value = self.expression()
        self._all(")", ";")
        self.records.add(name)
        record = self.record
        return lambda values: record(name, value(values), values)

    def _body(self) -> list[Statement]:
        self.depth += 1
        if self.depth > 50:
            raise Unserved("blocks in blocks, more than 50 deep")
        self._all("{")
        found = []
        while self._peek() != "}":
            found.append(self._statement())
        self._all("}")
        self.depth -= 1
        return found

    def expression(self) -> Expression:
        """An expression, of && and || at the outermost."""
        found = self._and()
        while self._peek() == "||":
            self._next()
            found = _either(found, self._and())
        return found

    def _and(self) -> Expression:
        found = self._binary(0)
        while self._peek() == "&&":
            self._next()
            found = _both(found, self._binary(0))
        return found

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._unary()
        found = self._binary(level + 1)
        while (sign := self._peek()) in _LEVELS[level]:
            self._next()
            found = _applied(_LEVELS[level][sign], found, self._binary(level + 1))
        return found

    def _unary(self) -> Expression:
        self.depth += 1
        if self.depth > 50:
            raise Unserved("an expression more than 50 deep")
        try:
            return self._primary(self._next())
        finally:
            self.depth -= 1

    def _primary(self, word: str) -> Expression:
        if word in _UNARY:
            function, value = _UNARY[word], self._unary()
            return lambda values: function(value(values)) & _BITS
        if word == "(":
            if _CAST.fullmatch(self._peek()):
                if self._next() not in ("uint64", "int64"):
                    raise Unserved(f"'({self.tokens[self.at - 1]})'")
                self._all(")")
                return self._unary()
            found = self.expression()
            self._all(")")
            return found
        if word.isdigit():
            number = int(word[:20]) & _BITS
            return lambda _: number
        if word.startswith("$"):
            name = word[1:]
            self.names.add(name)
            return lambda values: values[name]
        raise Unserved(f"'{shown(word, 40)}'")

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        if self.at >= len(self.tokens):
            raise Unserved("a block that ends too soon")
        self.at += 1
        return self.tokens[self.at - 1]

    def _all(self, *words: str) -> None:
        for word in words:
            if (found := self._next()) != word:
                raise Unserved(f"'{shown(found, 40)}'")


_UNARY: dict[str, Callable[[int], int]] = {
    "!": lambda value: int(not value), "-": operator.neg, "~": operator.invert,
}  # fmt: skip


def _applied(
    function: Callable[[int, int], int], left: Expression, right: Expression
) -> Expression:
    return lambda values: function(left(values), right(values)) & _BITS


def _either(left: Expression, right: Expression) -> Expression:
    return lambda values: int(bool(left(values) or right(values)))


def _both(left: Expression, right: Expression) -> Expression:
    return lambda values: int(bool(left(values) and right(values)))


def _all_of(statements: list[Statement]) -> Statement:
    if len(statements) == 1:
        return statements[0]

    def run(values: Values) -> None:
        for one in statements:
            one(values)

    return run
