"""What a script has counted so far, read out of bpftrace's own maps while it goes on counting."""

from collections.abc import Iterator

from mmaplock_bt.errors import BpftraceError
from mmaplock_bt.spec.outputs import Counted, Outputs
from mmaplock_bt.stream import records
from mmaplock_bt.stream.bpftrace_json import MapDump
from mmaplock_bt.tracing import bpf_maps

_LARGEST = 16  # bytes of a value: a maximum's


class CountedSoFar:
    """The maps of a script's histograms, tables and counters, as bpftrace would print them now.

    And how many lines of each output it has printed. `unread` says why they cannot be read, or ''.
    What a template fills with functions of bpftrace's own, like hist(), is left out.
    """

    def __init__(self, outputs: Outputs) -> None:
        self.unread = ""
        self._words: dict[str, int] = {}  # of a map's key
        for name, output in outputs.items():
            if isinstance(output, Counted):
                words = len(output.columns) or 1
                self._words |= dict.fromkeys((name, f"{name}_sum", f"{name}_max"), words)
                if output.kind == "histogram":
                    self._words[name] = len(output.columns) + 1  # and the bucket
            elif output.is_printed:
                self._words[records.PRINTED + name] = 1
        self._maps: dict[str, bpf_maps.Map] | None = None

    def read(self, bpftrace_pid: int) -> Iterator[MapDump]:
        """Yields each map, where they can be read."""
        if self.unread:
            return
        try:
            yield from self._dumps(bpftrace_pid)
        except (BpftraceError, OSError) as error:
            self.unread = str(error)

    def close(self) -> None:
        """Closes the maps."""
        bpf_maps.close(self._maps or {})

    def _dumps(self, bpftrace_pid: int) -> Iterator[MapDump]:
        if self._maps is None:
            kind, wanted = bpf_maps.PER_CPU_HASH, set(self._words)
            self._maps = bpf_maps.of_process(bpftrace_pid, kind, wanted, largest=_LARGEST)
        # Counts first: a script adds to the sum and the maximum before it counts.
        for name, words in self._words.items():
            one = self._maps.get(name)
            if one is not None and one.key_bytes == 8 * words:
                counts = one.items(max if name.endswith("_max") else sum)
                told = ((",".join(map(str, key)), value) for key, value in counts.items())
                yield MapDump(name, tuple(told))
