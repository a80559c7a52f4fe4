"""The self-test's cases."""

from mmaplock_bt import resources
from mmaplock_bt.commands import selftest


def test_every_shipped_profile_has_a_case_in_the_self_test():
    """The matrices of bpftraces and kernels run what the self-test runs."""
    shipped = resources.shipped_names("profiles", ".yaml")
    assert sorted({case.profile for case in selftest.cases()}) == shipped
