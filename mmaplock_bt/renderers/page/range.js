
"use strict";
// A range of time, dragged over a picture or given in numbers: everything below is of that range.
(function () {
  const { data } = page, [scale] = data.unit;
  const from = document.getElementById("from"), to = document.getElementById("to");
  const said = document.getElementById("said"), detail = document.getElementById("detail");
  const DRAGGED = 4; // px: less is a click
  const ROOM = 4; // percent of the width that make room for words

  // The part of the window that a picture shows: heat maps all of it, timelines the range.
  function shown(svg) {
    return svg.classList.contains("lanes") && page.range !== null ? page.range : [0, data.end];
  }

  function moment(svg, event) {
    const box = svg.getBoundingClientRect(), [begin, end] = shown(svg);
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return Math.round(begin + share * (end - begin));
  }

  function place(ns, range) {
    return 100 * (ns - range[0]) / (range[1] - range[0]);
  }

  // Begin and width in percent of the picture; far outside of it is as good as just outside.
  function put(element, begin, end, range, least) {
    const x = Math.max(-1, Math.min(101, place(begin, range)));
    const width = Math.max(-1, Math.min(101, place(end, range))) - x;
    element.setAttribute("x", x + "%");
    element.setAttribute("width", Math.max(least, width) + "%");
    return width;
  }

  function mark(svg, begin, end) {
    const chosen = svg.querySelector(".chosen");
    if (begin === end) chosen.setAttribute("width", 0);
    else put(chosen, begin, end, shown(svg), 0.1);
  }

  function ticks(range) {
    const steps = [1, 2, 5];
    let step = 1;
    while (range[1] - range[0] > step * 30) step *= 10;
    step *= steps.find((one) => range[1] - range[0] <= step * one * 6) || 1;
    const found = [];
    for (let at = Math.ceil(range[0] / step) * step; at <= range[1]; at += step) {
      if (place(at, range) <= 94) found.push(at);
    }
    return found;
  }

  function rule(svg, range) {
    const height = svg.getAttribute("height");
    svg.querySelector(".grids").replaceChildren(...ticks(range).map((at) => page.svg("line", {
      class: "grid", x1: place(at, range) + "%", x2: place(at, range) + "%", y1: 0, y2: height,
      stroke: "#999",
    })));
    const below = svg.closest(".plot").nextElementSibling.querySelector(".ticks");
    below.replaceChildren(...ticks(range).map((at) => {
      const text = page.svg("text", {
        x: place(at, range) + "%", y: 13, "font-size": 11, "font-family": "sans-serif",
      });
      text.textContent = at === 0 ? "0" : page.ns(at);
      return text;
    }));
  }

  function zoom(svg) {
    const range = page.range === null ? [0, data.end] : page.range;
    for (const element of svg.querySelectorAll("[data-i]")) {
      const [, begin, end] = data.spans[element.dataset.i];
      const last = end === null ? data.end : end;
      if (element.classList.contains("bar")) put(element, begin, last, range, 0.08);
      else element.setAttribute("display", put(element, Math.max(begin, range[0]), last, range, 0) < ROOM ? "none" : "");
    }
    for (const element of svg.querySelectorAll(".bracket")) {
      const width = put(element, Number(element.dataset.b), Number(element.dataset.e), range, 0.1);
      element.querySelector("text").setAttribute("display", width < ROOM ? "none" : "");
    }
    for (const element of svg.querySelectorAll(".link")) {
      const x = Math.max(-1, Math.min(101, place(Math.max(0, Number(element.dataset.at)), range)));
      element.setAttribute("x1", x + "%");
      element.setAttribute("x2", x + "%");
    }
    rule(svg, range);
    mark(svg, 0, 0);
  }

  function tell() {
    if (page.range === null) {
      said.textContent = "The whole window.";
      from.value = to.value = "";
      return;
    }
    const [begin, end] = page.range;
    const found = data.spans.filter((one) => page.holds(one[1], one[2]));
    const waits = found.filter((one) => one[0] === 1).length;
    said.textContent = "From +" + page.ns(begin) + " to +" + page.ns(end) + ": " +
      page.counted(found.length - waits, "hold") + ", " + page.counted(waits, "wait") +
      ", each in full that was on for some of it. Timeline, stacks and tables below are of this range; figures of whole windows stay as they are.";
    from.value = begin / scale;
    to.value = end / scale;
  }

  function drag(svg) {
    let since = null, x = 0;
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      since = moment(svg, event);
      x = event.clientX;
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (since !== null) {
        const now = moment(svg, event);
        mark(svg, Math.min(since, now), Math.max(since, now));
      }
    });
    svg.addEventListener("pointercancel", () => {
      since = null;
      tidy();
    });
    svg.addEventListener("pointerup", (event) => {
      if (since === null) return;
      const now = moment(svg, event), begin = since;
      since = null;
      if (Math.abs(event.clientX - x) >= DRAGGED && begin !== now) {
        page.select([Math.min(begin, now), Math.max(begin, now)]);
      } else {
        tidy();
        about(event);
      }
    });
    svg.addEventListener("dblclick", () => page.select(null));
  }

  // What is under a click, for those who cannot hover.
  function about(event) {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    const title = under && (under.querySelector("title") ||
      (under.closest(".bracket") && under.closest(".bracket").querySelector("title")));
    if (title && !under.classList.contains("time")) {
      (under.closest(".lanes") ? detail : said).textContent = title.textContent;
    }
  }

  function tidy() {
    for (const svg of document.querySelectorAll("svg.time")) {
      const is = page.range !== null && svg.classList.contains("heat");
      mark(svg, is ? page.range[0] : 0, is ? page.range[1] : 0);
    }
  }

  for (const svg of document.querySelectorAll("svg.time")) drag(svg);
  document.getElementById("range").addEventListener("submit", (event) => {
    event.preventDefault();
    const ends = [from, to].map((one, turn) =>
      one.value === "" ? [0, data.end][turn] : Number(one.value) * scale);
    ends.sort((a, b) => a - b);
    if (ends[0] < ends[1]) page.select(ends);
  });
  document.getElementById("whole").addEventListener("click", () => page.select(null));
  page.listeners.push(() => {
    for (const svg of document.querySelectorAll("svg.lanes")) zoom(svg);
    tidy();
    tell();
  });
  tell();
})();
