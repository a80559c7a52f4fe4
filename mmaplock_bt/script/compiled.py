"""Templates as Python has compiled them: kept, because compiling takes longer than all the rest."""

import hashlib
from contextlib import suppress

from jinja2.bccache import Bucket, BytecodeCache

from mmaplock_bt import resources
from mmaplock_bt.machine import private_folder

LIMIT_BYTES = 4 << 20
_DIGEST = hashlib.sha256
_DIGEST_BYTES = _DIGEST().digest_size


class Compiled(BytecodeCache):
    """By a template's name and its text's checksum; what is read there is executed.

    So it is read where only this user and root write, and as it was written: Python may crash by
    compiled code that is damaged.
    """

    def load_bytecode(self, bucket: Bucket) -> None:
        """Leaves the bucket empty where there is nothing, or something else."""
        data = private_folder.read(_file(bucket), LIMIT_BYTES) or b""
        digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if digest and digest == _DIGEST(code).digest():
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps it where that can be done; no memory is only slower."""
        code = bucket.bytecode_to_string()
        with suppress(OSError):
            private_folder.write(_file(bucket), _DIGEST(code).digest() + code)


def _file(bucket: Bucket) -> str:
    return str(resources.cache() / "templates" / bucket.key)
