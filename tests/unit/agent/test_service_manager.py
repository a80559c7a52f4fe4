"""What systemd is told, where there is one."""

import socket

from mmaplock_bt.agent import service_manager


def test_states_are_lines_of_one_datagram(monkeypatch, tmp_path):
    for place in (str(tmp_path / "s"), f"@{tmp_path}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind("\0" + place[1:] if place.startswith("@") else place)
            monkeypatch.setenv("NOTIFY_SOCKET", place)
            service_manager.tell(service_manager.READY, service_manager.status("a\nREADY=1"))
            assert told.recv(100) == b"READY=1\nSTATUS=a READY=1"


def test_nobody_listens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.tell(service_manager.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    service_manager.tell(service_manager.READY)
