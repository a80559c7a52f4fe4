
"use strict";
// Tables: a click on a head sorts, a word filters, and a range of time leaves what is in it.
(function () {
  const search = document.getElementById("row-search");
  const said = document.getElementById("row-said");
  const tables = [...document.querySelectorAll("table.sortable")];

  function value(row, column) {
    const cell = row.cells[column];
    if (cell === undefined) return "";
    return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? 1 : -1; // what was not measured
    return a.localeCompare(b, "en", { numeric: true });
  }

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort((a, b) => (descending ? -1 : 1) * compare(a[0], b[0]));
    body.append(...rows.map((pair) => pair[1]));
    [...table.tHead.rows[0].cells].forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    table.dataset.sorted = column + (descending ? "-" : "+");
  }

  function again(table) {
    const sorted = table.dataset.sorted;
    if (sorted) sort(table, parseInt(sorted, 10), sorted.endsWith("-"));
  }

  function prepare(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const is = head.getAttribute("aria-sort");
        sort(table, column, is === null ? head.classList.contains("n") : is === "ascending");
      });
    });
  }

  function isIn(row) {
    const { b, e } = row.dataset;
    return b === undefined || page.holds(Number(b), e === "" ? null : Number(e));
  }

  function filter() {
    const word = search.value.toLowerCase();
    let left = 0, all = 0;
    for (const row of document.querySelectorAll("#tables tbody tr")) {
      all += 1;
      row.hidden = !isIn(row) || (word !== "" && !row.textContent.toLowerCase().includes(word));
      left += row.hidden ? 0 : 1;
    }
    said.textContent = left === all ? "" : left + " of " + page.counted(all, "row");
  }

  function fill(section, rows) {
    const table = section.querySelector("table");
    table.tBodies[0].replaceChildren(...rows.slice(0, page.data.rows).map((cells) => {
      const row = document.createElement("tr");
      for (const [text, number] of cells) {
        const cell = row.insertCell();
        cell.textContent = text;
        if (number !== undefined) {
          cell.className = "n";
          cell.dataset.v = number;
        }
      }
      return row;
    }));
    let note = section.querySelector(".count");
    if (note === null) {
      note = document.createElement("p");
      note.className = "note count";
      for (const old of section.querySelectorAll(".note")) old.remove();
      section.querySelector("h3").after(note);
    }
    const shown = Math.min(rows.length, page.data.rows);
    note.textContent = (page.range === null ? "" : "In the range of time: ") +
      (shown < rows.length ? shown + " of " : "") + page.counted(rows.length, "row") + ".";
    again(table);
  }

  // Who waited for whom, summed over the parts of waits that are in the range.
  function sums() {
    const section = document.getElementById("sheet-sums");
    if (section === null) return;
    const found = new Map();
    for (const [begin, end, ns, ...names] of page.data.charges) {
      if (!page.holds(begin, end)) continue;
      const key = names.join(" ");
      const sum = found.get(key) || { names, ns: 0, count: 0, longest: 0 };
      sum.ns += ns;
      sum.count += 1;
      sum.longest = Math.max(sum.longest, ns);
      found.set(key, sum);
    }
    const rows = [...found.values()].sort((a, b) => b.ns - a.ns);
    fill(section, rows.map((sum) => [
      ...sum.names.map((name) => [page.whose(name)]), [page.ns(sum.ns), sum.ns],
      [sum.count.toLocaleString("en-US"), sum.count], [page.ns(sum.longest), sum.longest],
    ]));
  }

  function spans() {
    const section = document.getElementById("sheet-spans");
    if (section.querySelector("table") === null) return;
    const length = (one) => (one[2] === null ? page.data.end : one[2]) - one[1];
    const found = page.data.spans.filter((one) => page.holds(one[1], one[2]));
    found.sort((a, b) => length(b) - length(a));
    fill(section, found.map((one) => [
      ["+" + page.ns(one[1]), one[1]], [page.ns(length(one)), length(one)],
      ...one.slice(3).map((name) => [page.whose(name)]),
    ]));
  }

  tables.forEach(prepare);
  search.addEventListener("input", filter);
  page.listeners.push(() => {
    sums();
    spans();
    filter();
  });
})();
