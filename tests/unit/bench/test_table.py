"""Tables, the plot, the README's section: of full, empty and hostile records."""

import xml.etree.ElementTree as ET

import pytest

from bench import plot, readme, table
from bench.contenders import BASE
from bench.figures import figures
from bench.record import Row
from bench.scenarios import MAIN
from mmaplock_bt.escaping import safe
from tests.unit.bench.records import record, turn, usual

HOSTILE = 'a|b\n<script>alert(1)</script> *x* & "y"\x1b[31m\\'


def versions():
    """One line of three bpftraces, of which one refuses."""
    rows = tuple(Row(name=f"x ({by})", what="x", by=by) for by in ("0.17", "0.23", "0.27"))
    peer = Row(name=BASE, what=BASE, by="")
    turns = (turn(BASE, 1, 4.0), turn("x (0.17)", 1, 6.0), turn("x (0.27)", 1, 5.0, "loud"))
    found = record(*turns, rows=(peer, *rows))
    return found.model_copy(update={"refusals": {"x (0.23)": "no"}})


RECORDS = {
    "empty": record(),
    "full": usual(),
    "versions": versions(),
    "no peer": record(turn("x", 1, 5.0)),
    "beyond the axis": record(turn(BASE, 1, 4.0), turn("x", 1, 4000.0), turn("y", 1, 2.0)),
    "hostile": record(turn(BASE, 1, 4.0), turn(HOSTILE, 1, 5.0), **{f"{HOSTILE}2": HOSTILE}),
}


def told(found):
    return table.lines(figures(found), MAIN)


@pytest.mark.parametrize("found", RECORDS.values(), ids=RECORDS)
def test_every_row_of_a_table_has_the_same_columns(found):
    for written in (table.price_table(told(found)), table.scenario_table(figures(found), (MAIN,))):
        bars = [line.replace("\\|", "").count("|") for line in written.splitlines()]
        assert len(set(bars)) == 1


@pytest.mark.parametrize("found", RECORDS.values(), ids=RECORDS)
def test_the_plot_is_xml_and_has_every_label(found):
    lines = told(found)
    drawn = plot.picture(lines, BASE, "a & b")
    texts = {text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")}
    assert {safe(line.what) for line in lines} <= texts


def test_a_hostile_name_stays_text():
    lines = told(RECORDS["hostile"])
    for written in (plot.picture(lines, BASE, ""), table.report(RECORDS["hostile"], "x.svg")):
        assert "<script" not in written
        assert "\x1b" not in written
    ET.fromstring(plot.picture(lines, BASE, ""))


def test_dots_stay_on_the_axis():
    drawn = ET.fromstring(plot.picture(told(RECORDS["beyond the axis"]), BASE, ""))
    places = [float(dot.get("cx")) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert len(places) == 3
    assert all(plot.LEFT <= place <= plot.RIGHT for place in places)


def test_one_line_for_all_bpftraces():
    written = table.price_table(told(versions()))
    assert "| what (bpftrace 0.17 / 0.23 / 0.27) | added ns | ratio |" in written
    assert "| x | +600 / – / ~+400 | 3.00 / – / 2.00 |" in written


def test_cheapest_first_and_what_refused_last():
    found = record(turn("dear", 1, 9.0), turn(BASE, 1, 4.0), turn("cheap", 1, 3.1), none="no")
    assert [line.what for line in told(found)] == ["cheap", BASE, "dear", "none"]


def test_a_refusal_is_a_row_with_its_sentence():
    assert "| BCC | bcc is not installed |  |" in table.price_table(
        told(record(BCC="bcc is not installed"))
    )


def test_noise_is_told():
    assert "(1 of 3 turns were noisy" in " ".join(table.legend(versions()).split())
    assert "quiet" not in table.legend(usual())


def test_the_readme_keeps_what_stands_around_the_section():
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    made = readme.placed(text, "new\n")
    assert made == f"before\n{readme.BEGIN}\nnew\n{readme.END}\nafter\n"
    assert readme.placed(made, "new") == made


@pytest.mark.parametrize("text", ["", readme.BEGIN, readme.END])
def test_a_readme_without_a_place(text):
    with pytest.raises(readme.NoPlaceError):
        readme.placed(text, "new")
