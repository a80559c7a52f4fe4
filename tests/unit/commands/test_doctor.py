"""The checklist of `doctor`."""

import gzip

import pytest

from mmaplock_bt.commands import doctor
from mmaplock_bt.machine import inventory


@pytest.mark.parametrize(
    ("hz", "state", "said"),
    [(100, "limited", "threshold=10ms"), (250, "ok", "4 ms"), (300, "limited", "threshold=6ms"),
     (1000, "ok", "4 ms"), (None, "limited", "HZ unknown")],
)  # fmt: skip
def test_the_hand_off_period(monkeypatch, tmp_path, hz, state, said):
    monkeypatch.setattr(inventory, "CONFIG", tmp_path / "config.gz")
    monkeypatch.setattr(inventory.platform, "release", lambda: "none")
    if hz:
        inventory.CONFIG.write_bytes(gzip.compress(f"CONFIG_X=y\nCONFIG_HZ={hz}\n".encode()))
    check = doctor._hand_off()
    assert check.state == state and said in f"{check.found} {check.mend}"
