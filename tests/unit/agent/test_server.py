"""One GET each, bounded in size and time; few at once."""

import http.client
import socket
import threading

import pytest

from mmaplock_bt.agent import server
from mmaplock_bt.agent.server import AT_ONCE, HEAD_BYTES, Answer, Server
from mmaplock_bt.errors import UsageError

PAGES = {"/metrics": lambda accept: Answer(f"asked for {accept}".encode())}


@pytest.fixture
def port():
    with Server("127.0.0.1", 0, PAGES) as running:
        yield int(running.url.rpartition(":")[2])


def raw(port, sent):
    """What comes back for these bytes, to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        found = b""
        try:
            while piece := connection.recv(4096):
                found += piece
        except ConnectionResetError:
            pass
        return found


def asked(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_page_and_what_it_was_asked_for(port):
    assert asked(port, "/metrics?x=1", Accept="text/plain") == (200, b"asked for text/plain")


def test_a_fault_of_a_page_is_told():
    with Server("127.0.0.1", 0, {"/": lambda _: 1 / 0}) as running:
        said = b"a fault of mmaplock-bt itself (ZeroDivisionError)\n"
        assert asked(int(running.url.rpartition(":")[2]), "/") == (500, said)


def test_another_path(port):
    assert asked(port, "/") == (404, b"there is /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "X"])
def test_other_methods_are_refused(port, method):
    assert asked(port, "/metrics", method)[0] == 501


@pytest.mark.parametrize("sent", [b"\n\n", b"GET\r\n\r\n", b"\x00" * 9 + b"\r\n\r\n"])
def test_no_request(port, sent):
    assert b"200" not in raw(port, sent)
    assert asked(port, "/metrics")[0] == 200


def test_a_head_without_end_is_cut_off(port):
    assert raw(port, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * HEAD_BYTES) == b""
    assert asked(port, "/metrics")[0] == 200


def test_whoever_says_nothing_gives_his_place_away(monkeypatch, port):
    monkeypatch.setattr(server, "PATIENCE_S", 0.2)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * AT_ONCE)]
    assert asked(port, "/metrics")[0] == 200
    for one in silent:
        one.close()


def test_no_more_threads_than_places(port):
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5 * AT_ONCE)]
    handling = [one for one in threading.enumerate() if "process_request" in one.name]
    assert len(handling) <= AT_ONCE
    for one in silent:
        one.close()


def test_a_port_that_is_taken(port):
    with pytest.raises(UsageError) as raised:
        Server("127.0.0.1", port, PAGES)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in str(raised.value)


def test_an_address_of_another_machine():
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:1"):
        Server("192.0.2.1", 1, PAGES)
