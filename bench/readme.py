"""The README's section on the price, between its marks."""

BEGIN, END = "<!-- price: written by make bench -->", "<!-- / price -->"


class NoPlaceError(Exception):
    """A finished sentence: the README has no marks."""


def placed(text: str, section: str) -> str:
    """Returns the README with the section between its marks. Raises NoPlaceError."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise NoPlaceError(f"the README has no place for the price: {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n{section.strip()}\n{END}{tail}"
