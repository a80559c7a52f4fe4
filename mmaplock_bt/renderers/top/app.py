"""The screen of `top`: findings, holders, open spans; keys as other such programs have them."""

from dataclasses import replace
from operator import is_
from typing import ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key, Resize
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from mmaplock_bt.analysis.holders import Holder
from mmaplock_bt.escaping import safe
from mmaplock_bt.renderers.live import screen
from mmaplock_bt.renderers.live.moment import Moment
from mmaplock_bt.renderers.top import holders
from mmaplock_bt.renderers.top.feed import Feed
from mmaplock_bt.renderers.top.holders import Wanted

LOOKS_S = 0.1  # how often it looks for a new moment
SENTENCES = 3
MOVES = {"j", "k", "up", "down", "pageup", "pagedown", "home", "end"}
ROOM = {"rates": 30, "open": 22, "findings": 14}  # lines of a terminal that shows it


class Top(App[None]):
    """Draws the latest moment of a feed, or while it is frozen the one of that time."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #status, #findings, #open, #rates { height: auto; }
    #findings { margin-top: 1; max-height: 9; }
    #holders { height: 1fr; min-height: 4; margin-top: 1; }
    #open { margin-top: 1; max-height: 6; }
    #filter { display: none; border: none; height: 1; padding: 0; }
    Full { align: center middle; }
    Full > VerticalScroll { width: 90%; height: 80%; border: round $primary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "freeze", "freeze"),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter"),
        Binding("w", "write", "write"),
        Binding("escape", "leave", "leave", show=False),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c,ctrl+q", "quit", show=False),
    ]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._drawn: Moment | None = None
        self._told: tuple[object, ...] = (None,) * 4
        self._is_frozen = False
        self._wanted = Wanted()
        self._rows: list[Holder] = []

    def compose(self) -> ComposeResult:
        """Yields the widgets from top to bottom."""
        yield Static(id="status")
        yield Static(id="findings")
        yield Holders(id="holders", cursor_type="row", zebra_stripes=True)
        yield Input(id="filter", placeholder="name, pid, cause or function; Enter keeps it")
        yield Static(id="open")
        yield Static(id="rates")
        yield Footer()

    def on_mount(self) -> None:
        """Begins to look for moments."""
        self._table.add_columns(*holders.COLUMNS)
        self._table.focus()
        self._look()
        self.set_interval(LOOKS_S, self._look)

    def on_resize(self, event: Resize) -> None:
        """A small terminal has room for findings and holders."""
        for name, least in ROOM.items():
            self.screen_stack[0].query(f"#{name}").set(display=event.size.height >= least)

    def action_freeze(self) -> None:
        """The screen stays as it is, and goes on; collecting always does."""
        self._is_frozen = not self._is_frozen
        self._look()

    def action_sort(self) -> None:
        """By the next order; the selected holder stays selected."""
        self._wanted = self._wanted.next()
        self._table.is_chosen = True
        self._fill()

    def action_filter(self) -> None:
        """Asks for a text."""
        self._filter.display = True
        self.screen.set_focus(self._filter)  # at once: what is typed next is for it

    def action_leave(self) -> None:
        """Closes the filter; without one it is the end."""
        if not self._filter.display and not self._wanted.text:
            self.exit()
        self._filter.value = ""
        self._close_filter()

    def action_write(self) -> None:
        """Has the result so far written by the thread that traces."""
        self._feed.is_asked.set()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Shows what the text is found in, while it is typed."""
        self._wanted = replace(self._wanted, text=event.value)
        self._fill()

    def on_input_submitted(self) -> None:
        """Keeps the filter."""
        self._close_filter()

    def on_data_table_row_selected(self) -> None:
        """Opens a holder."""
        if self._drawn is not None and self._rows:
            self.push_screen(Full(self._rows[self._table.cursor_row], self._drawn))

    # Not of the screen in front: a holder may be open.
    @property
    def _table(self) -> "Holders":
        return self.screen_stack[0].query_one(Holders)

    @property
    def _filter(self) -> Input:
        return self.screen_stack[0].query_one(Input)

    def _close_filter(self) -> None:
        self._filter.display = False
        self.screen.set_focus(self._table)

    def _look(self) -> None:
        """Draws what is new; what is lost is told while the screen is frozen, too."""
        if self._feed.has_ended.is_set():
            self.exit()
        latest = self._feed.latest
        first = self.screen_stack[:1]  # none, or without rows: it is taken apart
        if latest is None or not any(screen.query(Holders) for screen in first):
            return
        if latest is not self._drawn and not (self._is_frozen and self._drawn):
            self._drawn = latest
            self._draw(latest)
        told = latest, self._is_frozen, self._wanted, self._feed.last
        if not all(map(is_, told, self._told)):  # ten times a second the same costs
            self._told = told
            self._put("status", self._status(latest))

    def _draw(self, moment: Moment) -> None:
        self._put("findings", _findings(moment))
        self._put("open", screen.open_spans(moment.open) if moment.asks_for_open else Group())
        self._put("rates", screen.rates(moment.rates))
        self._fill()
        if isinstance(self.screen, Full):
            self.screen.draw(moment)

    def _fill(self) -> None:
        """The table anew, with the cursor on whom it was on, once somebody has moved it."""
        table, moment = self._table, self._drawn
        if moment is None:
            return
        selected = self._rows[table.cursor_row].pid if self._rows else None
        self._rows = holders.chosen(moment, self._wanted)
        table.clear()
        for one in self._rows:
            table.add_row(*holders.cells(one), key=str(one.pid))
        pids = [one.pid for one in self._rows]
        if table.is_chosen and selected in pids:
            table.move_cursor(row=pids.index(selected))

    def _status(self, latest: Moment) -> Group:
        text = Text(safe(latest.result.profile.name), style="bold")
        text.append(f"  {latest.clock}", "dim")
        if self._is_frozen and self._drawn is not None:
            text.append(f"  FROZEN at {self._drawn.clock.partition(',')[0]}", "bold reverse")
            text.append(" (space goes on)", "dim")
        text.append(f"  sorted by {self._wanted.order}", "dim")
        if self._wanted.text:
            text.append(f"  only '{safe(self._wanted.text)}' (Esc: all)", "bold")
        said = [Text(safe(self._feed.last), no_wrap=True)] if self._feed.last else []
        return Group(text, screen.loss(latest), *said)

    def _put(self, name: str, what: Group | Table) -> None:
        for one in self.screen_stack[0].query(f"#{name}").results(Static):
            one.update(what)


class Holders(DataTable[Text]):
    """The table of holders; `is_chosen` is its row where somebody has moved to it."""

    is_chosen = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open"),
        Binding("j", "cursor_down", "down", show=False),
        Binding("k", "cursor_up", "up", show=False),
    ]

    def on_key(self, event: Key) -> None:
        """Notes that a row is chosen."""
        self.is_chosen = self.is_chosen or event.key in MOVES

    def on_click(self) -> None:
        """Notes that a row is chosen."""
        self.is_chosen = True


class Full(ModalScreen[None]):
    """One holder in full; it is kept up to date."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter", "dismiss", "back"),
        Binding("space", "app.freeze", "freeze"),
        Binding("w", "app.write", "write"),
        Binding("q", "app.quit", "quit"),
        Binding("ctrl+c,ctrl+q", "app.quit", show=False),
        Binding("j", "scroll('down')", "down", show=False),
        Binding("k", "scroll('up')", "up", show=False),
    ]

    def __init__(self, holder: Holder, moment: Moment) -> None:
        super().__init__()
        self._holder, self._moment = holder, moment

    def compose(self) -> ComposeResult:
        """Yields what scrolls."""
        with VerticalScroll():
            yield Static(holders.full(self._holder, self._moment), id="holder")
        yield Footer()

    def action_scroll(self, way: str) -> None:
        """Scrolls a line."""
        inner = self.query_one(VerticalScroll)
        inner.scroll_relative(y=1 if way == "down" else -1, animate=False)

    def draw(self, moment: Moment) -> None:
        """Shows the same process at another moment."""
        found = holders.chosen(moment, Wanted())
        self._holder = next((one for one in found if one.pid == self._holder.pid), self._holder)
        self.query_one("#holder", Static).update(holders.full(self._holder, moment))


def _findings(moment: Moment) -> Group:
    found = [Text(f"{n}  {safe(one.sentence)}") for n, one in enumerate(moment.findings, 1)]
    return Group(*(found[:SENTENCES] or [Text("no finding so far", style="dim")]))
