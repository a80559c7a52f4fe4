"""What is rendered, as whole programs: a change in a template is seen in review."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mmaplock_bt.errors import UsageError
from mmaplock_bt.machine import inventory
from mmaplock_bt.machine.inventory import Machine
from mmaplock_bt.script import context, header, render
from mmaplock_bt.spec import declaration, gates, profile
from mmaplock_bt.stream import records

FACTS: dict[str, bool | str] = {
    "memcg_field": "memcg_id",
    "memory_controller": "4",
    "user_registers": "x86_64",
    "registers_at": "16216",
    "rwsem_owner": True,
    "exec_update_lock": True,
}
FIXED = Machine("6.18.0", "x86_64", 2, "0.17.0", "bpftrace", FACTS)
RAW = replace(
    FIXED, bpftrace="0.27.1", facts={**FACTS, "raw_tracepoint": True, "config_block": True}
)


class BpftraceSnapshot(SingleFileSnapshotExtension):
    file_extension = "bt"
    _write_mode = WriteMode.TEXT


CONTENDED = replace(
    FIXED,
    facts={**FACTS, "contention": True, "mmap_lock_offset": "184", "run_delay": True},
)
RELEASES = replace(CONTENDED, facts={**CONTENDED.facts, "contended_release": True})


LIMITED = {"max_overhead_ppm": 20_000}


@pytest.mark.parametrize(
    ("machine", "tree"),
    [(FIXED, False), (FIXED, True), (RAW, False), (CONTENDED, False)],
    ids=["all", "tree", "raw", "contended"],
)
@pytest.mark.parametrize("name", profile.names())
def test_rendered_script(name, machine, tree, snapshot, monkeypatch):
    monkeypatch.setattr(header, "__version__", "VERSION")
    rendered = render.render(profile.load(name), machine, tree=tree).text
    assert rendered == snapshot(extension_class=BpftraceSnapshot)


def test_only_what_is_asked_for_is_traced():
    """No start probe where no wait is asked for, no release where no hold is."""
    wanted = {"hold-times": {"released", "acquire_returned"},
              "long-holds": {"released", "acquire_returned"},
              "wait-times": {"acquire_returned", "start_locking"},
              "blame": {"released", "acquire_returned", "start_locking"}}  # fmt: skip
    for name, probes in wanted.items():
        text = render.render(profile.load(name), FIXED).text
        assert set(re.findall(r"^tracepoint:mmap_lock:mmap_lock_(\w+)", text, re.M)) == probes


def test_the_advice_is_read_where_its_register_is_known_and_a_stack_is_recorded():
    told = {name: render.render(profile.load(name), FIXED).text for name in profile.names()}
    assert "$advice" in told["long-holds"] and "$advice" not in told["wait-times"]
    chosen = profile.load("long-holds")
    unknown = replace(FIXED, facts={**FACTS, "user_registers": "", "registers_at": ""})
    for machine, by_hand in ((unknown, False), (FIXED, True)):
        text = render.render(chosen, machine, by_hand=by_hand).text
        assert "$advice" not in text and "madvise %llu" not in text


REALTIME = {**FACTS, "rwsem_owner": False, "run_delay": True, "rwbase": True}


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("name", profile.names())
def test_with_preempt_rt_no_rwsem_is_read_and_every_map_is_filled(name, shown):
    """bpftrace refuses a map that is only read."""
    machine = replace(CONTENDED, facts={**CONTENDED.facts, **REALTIME, "rwbase": shown})
    made = render.render(profile.load(name), machine)
    code = re.sub(r"//.*|/\*.*?\*/", "", made.text.replace("\n *", " *"))
    assert made.locks == "all" and "count.counter" not in code and "owner.counter" not in code
    assert ("rwbase" in code) <= shown
    read = set(re.findall(r"@(\w+)", code))
    assert read == set(re.findall(r"@(\w+)(?:\[[^\]]*\])? = ", code))


def test_on_arm64_madvise_and_its_registers_are_others():
    facts = {**FACTS, "user_registers": "arm64", "registers_at": "16048"}
    text = render.render(profile.load("long-holds"), replace(FIXED, facts=facts)).text
    assert "->stack + 16048;" in text and "^ 233)" in text and "^ 28)" not in text


def test_where_no_teardown_is_seen_an_owner_is_remembered_with_its_pid():
    """Whoever has the memory of both next must not have the verdict, too."""
    chosen = profile.load("stuck-locks")
    chosen = replace(chosen, filter=profile.merge(chosen.filter, {"owner": {"comm": "x"}}))
    some = render.render(replace(chosen, locks="contended"), CONTENDED).text
    every = render.render(replace(chosen, locks="all"), CONTENDED).text
    assert "->tgid << 42" in some and "->tgid << 42" not in every


def test_contended_locks_cost_one_probe_elsewhere():
    """From 7.2 on (lock:contended_release) not even that."""
    chosen = profile.load("blame")
    one, none = (render.render(chosen, m) for m in (CONTENDED, RELEASES))
    assert re.findall(r"mmap_lock:(\w+)\n", one.text) == ["mmap_lock_released"]
    assert "mmap_lock:mmap_lock_" not in none.text and "contended_release" in none.text
    assert one.locks == "contended" and "open_holds" not in one.books
    assert {"starts", "acquires", "failed", "releases", "open_waits", "spinning"} == set(one.books)


OTHERS = {
    "owner pid": ({"owner": {"pid": 4242}}, "$owner_tgid == 4242"),
    "owner comm": ({"owner": {"comm": "x"}}, "$space != ($owned | 1)"),
    "owner cgroup": ({"owner": {"cgroup": "/x"}}, "$space != ($owned | 1)"),
    "actor comm": ({"actor": {"comm": "x"}}, 'comm == "x"'),
    "actor pid": ({"actor": {"pid": 4242}}, "(uint64)pid == 4242"),
}


@pytest.mark.parametrize(("chosen", "condition"), OTHERS.values(), ids=OTHERS)
def test_what_a_filter_leaves_out_reads_no_clock_and_no_hold(chosen, condition, monkeypatch):
    monkeypatch.setattr(context, "_cgroups", lambda _: {"owner": [7], "actor": []})
    one = profile.load("hold-times")
    text = render.render(replace(one, filter=profile.merge(one.filter, chosen)), FIXED).text
    released, acquired = re.findall(r"^tracepoint:mmap_lock:.*?^}", text, re.M | re.S)
    head, _, rest = acquired.partition(condition)
    assert rest and "nsecs" not in head and "@holding" not in head
    assert released.index("@holding") < released.index("nsecs")


@pytest.mark.parametrize("missing", ["contention", "mmap_lock_offset", "rwsem_owner"])
def test_all_locks_are_followed_where_contention_cannot_be_seen(missing):
    machine = replace(CONTENDED, facts={**CONTENDED.facts, missing: ""})
    assert render.render(profile.load("blame"), machine).locks == "all"


@pytest.mark.parametrize("changed", [{"actor": {"comm": "x"}}, {"mode": "write"}])
def test_a_filter_on_one_side_needs_all_locks(changed):
    chosen = profile.load("overview")
    filtered = replace(chosen, filter=profile.merge(chosen.filter, changed))
    assert render.render(chosen, CONTENDED).locks == "contended"
    assert render.render(filtered, CONTENDED).locks == "all"


def test_a_gate_wants_every_lock_unless_told_otherwise():
    """Of contended locks alone nothing tells whether anybody took one at all."""
    chosen = profile.load("blame")
    gated = replace(
        chosen, gates=(gates.parse("blame.count == 0", chosen.template.declaration.outputs),)
    )
    assert render.render(gated, CONTENDED).locks == "all"
    assert render.render(replace(gated, locks="contended"), CONTENDED).locks == "contended"


@pytest.mark.parametrize("name", ["hold-times", "wait-times", "long-holds"])
def test_one_lock_in_n_is_chosen_where_it_begins(name):
    text = render.render(replace(profile.load(name), sample=16), FIXED).text
    first = "start_locking" if name == "wait-times" else "acquire_returned"
    probe = text[text.index(f"mmap_lock_{first}\n") :]
    assert probe.index("rand % 16 == 0") < probe.index("@on == 1")
    assert "rand" not in render.render(profile.load(name), FIXED).text


@pytest.mark.parametrize("name", ["hold-times", "wait-times", "long-holds"])
def test_with_a_limit_on_the_overhead_the_tool_says_how_many(name, snapshot, monkeypatch):
    """And the script weighs what it counts: no sum is scaled once more."""
    monkeypatch.setattr(header, "__version__", "VERSION")
    limited = replace(profile.load(name), **LIMITED)
    found = render.render(limited, FIXED)
    assert found.text == snapshot(extension_class=BpftraceSnapshot)
    assert "= count();" not in re.sub(r"@(book|printed)_\w+ = count\(\);", "", found.text)
    assert found.sample == 1 and render.render(replace(limited, sample=10), FIXED).sample == 1
    assert "@every" not in render.render(limited, FIXED, by_hand=True).text


def test_what_cannot_be_sampled_follows_every_lock_whatever_the_limit():
    for name in ("blame", "overview"):
        plain = profile.load(name)
        limited = render.render(replace(plain, **LIMITED), FIXED)
        assert limited == render.render(plain, FIXED)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1024, 2**60), st.integers(0, 2**60))
def test_what_every_holds_is_read_as_the_script_reads_it(before, now, since_ns, began_ns):
    """The arithmetic of `weigh` and `is_followed`; the time is cut to 1,024 ns."""
    value = records.every(since_ns, 1 << before, 1 << now)
    assert value < 2**64 and 1 << (value & records.EVERY["log2"]) == 1 << now
    read = value
    if began_ns < value >> records.EVERY["SINCE"] << records.EVERY["SINCE"]:
        read = value >> records.EVERY["BEFORE"]
    weight = 1 << (read & records.EVERY["log2"])
    assert weight == (1 << before if began_ns < since_ns >> 10 << 10 else 1 << now)


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("hold-times", {"locks": "contended"}, "hold-times follows all locks"),
        ("blame", {"sample": 16}, "blame would be wrong for one lock in 16"),
    ],
)
def test_what_an_analysis_cannot_follow_is_refused(name, changed, says):
    with pytest.raises(UsageError, match=says):
        render.render(replace(profile.load(name), **changed), FIXED)


def test_no_raw_tracepoints_where_their_programs_are_preempted():
    """On Linux 7.2 the books were 7 events short of 200."""
    chosen = profile.load("hold-times")
    srcu = replace(RAW, facts={**RAW.facts, "tracepoint_srcu": True})
    assert render.render(chosen, RAW).is_raw and not render.render(chosen, srcu).is_raw


@pytest.mark.parametrize("shape", ["memcg_path", "memcg_id"])
def test_with_preempt_rt_raw_tracepoints_miss_nothing_while_bpftrace_is_preempted(shape):
    """Of older kernels' events the second argument is the cgroup's path."""
    facts = {**RAW.facts, **REALTIME, "memcg_field": shape}
    text = render.render(profile.load("hold-times"), replace(RAW, facts=facts)).text
    used = set(re.findall(r"\barg\d", text))
    assert used == {"arg0", *(("arg2", "arg3") if shape == "memcg_path" else ("arg1", "arg2"))}
    older = replace(RAW, facts={**RAW.facts, "memcg_field": "memcg_path"})
    assert not render.render(profile.load("hold-times"), older).is_raw


@pytest.mark.parametrize("name", profile.names())
def test_every_shipped_profile_renders_in_few_columns(name):
    """Only a printf is longer: its format and its arguments are one statement on one line."""
    text = render.render(profile.load(name), inventory.offline()).text
    assert text.startswith("#!/usr/bin/env bpftrace\n/*\n * " + name)
    assert text.count("{") == text.count("}")
    long = [line.strip() for line in text.splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith("printf(")] == []


def test_a_wrapped_header_says_the_same(monkeypatch):
    """Wrapping parts words and fields, and loses none."""
    chosen = profile.load("writer-starvation")
    wrapped = render.render(chosen, inventory.offline()).text
    monkeypatch.setattr(header, "WIDTH", 10_000)
    whole = render.render(chosen, inventory.offline()).text
    assert len(wrapped.splitlines()) > len(whole.splitlines())
    assert re.sub(r"\n \*|\s", "", wrapped) == re.sub(r"\n \*|\s", "", whole)


@pytest.mark.parametrize("name", profile.names())
def test_a_wrapped_header_breaks_no_name(name):
    """What stands between two bars is a column, also at a line's end."""
    chosen = profile.load(name)
    head = render.render(chosen, FIXED).text.split("*/")[0]
    legend = head[head.index("Output (") :]
    found = set(re.findall(r"\w+", legend))
    for output in chosen.template.declaration.outputs.values():
        assert {column.name for column in output.printed} <= found


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", profile.names())
def test_what_marks_a_section_is_not_in_the_script(name, by_hand):
    assert "//[" not in render.render(profile.load(name), FIXED, by_hand=by_hand).text


def test_a_record_inside_an_if_leaves_no_mark():
    """As the README's own template writes it: on the line of its brace."""
    source = """{#
question: q
outputs: {x: {kind: counter, title: t, keys: [owner_pid]}}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block wait_ended %}
if ($mode == 1) { {{ record("x") }} }
{{ owner() }}
{% endblock %}
"""
    used = declaration.parse(source, "x", "x.bt.j2")
    text = render.render(profile.Profile("x", used), FIXED).text
    assert "//[" not in text
    assert text.count("$owner_pid = (uint64)$owner->tgid;") == 2, "the second is no part of the if"


def test_a_template_cannot_reach_python():
    source = """{#
question: q
outputs: {x: {kind: counter, title: t}}
#}
{% extends "_mmap_lock.bt.j2" %}
{% block hold_ended %}
{{ record("x") }}
{{ ''.__class__.mro() }}
{% endblock %}
"""
    used = declaration.parse(source, "x", "x.bt.j2")
    with pytest.raises(UsageError, match="does not render"):
        render.render(profile.Profile("x", used), inventory.offline())


@given(st.text(min_size=1))
def test_text_goes_into_a_script_quoted_or_not_at_all(text):
    try:
        quoted = context.quote(text)
    except UsageError:
        return
    assert quoted[1:-1] == text
    assert not set(quoted[1:-1]) & set('"\\\n\r\0')
