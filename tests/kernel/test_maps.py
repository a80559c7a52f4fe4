"""Maps are as large as the profile says, on the running kernel, and a full one is told."""

import pytest

from mmaplock_bt import workload
from tests.builders import shown_as_table

pytestmark = [pytest.mark.kernel, pytest.mark.daily]

OWN = """\
{#
question: q
outputs:
  owners: {kind: counter, title: Owners, keys: [owner_pid]}
  lengths: {kind: histogram, title: Holds, unit: ns, keys: [mode]}
  sums: {kind: table, title: Holds, unit: ns, keys: [mode]}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block hold_ended %}
{{ owner() }}
{{ record("owners") }}
@lengths[$mode] = hist($hold_ns);
@sums[$mode] = stats($hold_ns);
{% endblock %}
"""


@pytest.fixture
def profile_of(tmp_path):
    """A profile of the template above, with maps of so many keys."""

    def write(keys: int) -> str:
        (tmp_path / "own.bt.j2").write_text(OWN)
        (tmp_path / "own.yaml").write_text(f"template: ./own.bt.j2\nmap_keys: {keys}\n")
        return str(tmp_path / "own.yaml")

    return write


@pytest.mark.parametrize(("keys", "full"), [(64, True), (128, False)])
def test_the_profile_sets_the_size_of_the_maps(traced, profile_of, keys, full):
    result = traced(profile_of(keys), "--", *workload.command("forks", 80, 1))
    owners = len(result.outputs["owners"].rows)
    assert (owners == 64) if full else (80 < owners < 128)
    assert (result.loss.map_full > 0) == full
    assert result.loss.complete != full
    assert ("more map_keys" in shown_as_table(result)) == full


def test_a_templates_own_hist_and_stats(traced, profile_of):
    result = traced(profile_of(1024), "--", *workload.command("munmaps", 1009))
    lengths = {r["key"]["mode"]: r for r in result.histogram("lengths")}
    sums = {r["key"]["mode"]: r for r in result.table("sums")}
    assert {mode: r["count"] for mode, r in lengths.items()} == {
        mode: r["count"] for mode, r in sums.items()
    }
    assert lengths["write"]["count"] == result.books.downgrades + (
        result.books.releases - lengths["read"]["count"]
    )
    for mode, row in lengths.items():
        least = sum(low * count for low, _, count in row["buckets"])
        assert least <= sums[mode]["sum"] < 2 * least + row["count"]
    assert result.loss.complete and result.messages == []
