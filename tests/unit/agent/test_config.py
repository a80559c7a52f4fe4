"""The agent's configuration: what is wrong is told with its place."""

import pytest

from mmaplock_bt.agent import config
from mmaplock_bt.errors import UsageError


@pytest.fixture
def load(tmp_path):
    def loaded(text):
        path = tmp_path / "agent.yaml"
        path.write_text(text)
        path.chmod(0o600)
        return config.load(str(path))

    return loaded


def test_every_key_has_a_default(load):
    assert load("") == config.Config()
    assert load("{}").listen == "127.0.0.1:9435"


def test_what_it_reads(load):
    found = load(
        "listen: '[::1]:1'\nthreshold: 500us\nculprits: {names: [ps], top: 0}\n"
        "limits: {memory: 1GiB, cpu: 2.5%, events: 100}\npause: {first: 1s, longest: 1m}\n"
    )
    assert (found.threshold, found.culprits.names) == (500_000, ["ps"])
    limits = found.limits
    assert (limits.memory, limits.cpu, limits.events) == (1 << 30, 25_000, 100)
    assert (found.pause.first, found.pause.longest) == (10**9, 60 * 10**9)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limit: {}", "1:1: limit: unknown key, allowed: listen, threshold"),
        ("limits:\n  cpus: 5%", "2:3: limits.cpus: unknown key, allowed: memory, cpu, events"),
        ("listen: 9435", "1:1: listen: "),
        ("listen: localhost", "1:1: listen: 'localhost' is no address with a port, like 127.0.0.1"),
        ("listen: a:70000", "is no address with a port"),
        ("threshold: 5", "1:1: threshold: '5' is not a duration with its unit"),
        ("threshold: true", "threshold: "),
        ("threshold: 1h", "threshold: expected a time from 1us to 1s"),
        ("limits: {memory: 1MiB}", "limits.memory: expected a size from 64MiB on"),
        ("limits: {cpu: 0%}", "limits.cpu: "),
        ("limits: {events: 0}", "limits.events: "),
        ("culprits: {top: 51}", "culprits.top: "),
        ("culprits: {names: [seventeen-letters]}", "names: the kernel keeps 1 to 15 bytes"),
        ("culprits: {names: [[]]}", "culprits.names"),
        ("cgroups: [a.slice]", "cgroups: 'a.slice' does not begin with one /"),
        ("cgroups: [/]", "1:1: cgroups: '/' is no path as in /proc/PID/cgroup"),
        ("cgroups: [/a/../b]", "'/a/../b' is no path"),
        ("cgroups: [/a/]", "'/a/' is no path"),
        ("cgroups: [//a]", "'//a' does not begin with one /"),
        ('cgroups: ["/a\\n"]', "is no path"),
        ("cgroups: [/a, /a]", "at most 50 cgroups, each once"),
    ],
)
def test_faults_have_their_place(load, text, told):
    with pytest.raises(UsageError) as raised:
        load(text)
    assert told in str(raised.value)
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize("text", ["", ":1", "a:", "a:b", "a:-1", "a:٣", "a:99999999999999999999"])
def test_no_address(text):
    with pytest.raises(UsageError):
        config.address(text)


def test_addresses():
    assert config.address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert config.address("[::1]:9435") == ("::1", 9435)
