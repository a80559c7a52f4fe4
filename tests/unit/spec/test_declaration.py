"""What a template declares."""

import pytest

from mmaplock_bt.errors import UsageError
from mmaplock_bt.spec import declaration


def test_optional_keys_are_integers():
    with pytest.raises(UsageError, match="integers only"):
        declaration.parse(
            "{#\nquestion: q\noutputs: {x: {kind: counter, title: t, optional_keys: [comm]}}\n#}",
            "x",
            "x.bt.j2",
        )
