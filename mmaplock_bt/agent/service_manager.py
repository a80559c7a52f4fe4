"""What systemd is told of a service of Type=notify (sd_notify(3))."""

import os
import socket
import time
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"
READY, ALIVE, ENDING = "READY=1", "WATCHDOG=1", "STOPPING=1"


def tell(*states: str) -> None:
    """Tells it, where there is one; whether it listens is no concern of ours."""
    place = os.environ.get(VARIABLE, "")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.setblocking(False)
        told.sendto("\n".join(states).encode(), address)


def reloading() -> tuple[str, str]:
    """Returns the states at the begin of a reload; Type=notify-reload (v253) wants the time."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def status(sentence: str) -> str:
    """Returns the state that `systemctl status` shows."""
    return f"STATUS={' '.join(sentence.split())}"
