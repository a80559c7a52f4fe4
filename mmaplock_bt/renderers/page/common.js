
"use strict";
// What the other scripts share: the data, the selected range, numbers as the report writes them.
const page = {
  data: JSON.parse(document.getElementById("view").textContent),
  range: null, // [from, to] in ns; null is the whole window
  listeners: [], // called when the range has changed
};

page.select = function (range) {
  page.range = range;
  for (const listener of page.listeners) listener();
};

// Whether something that lasted from `begin` to `end` (null: it had not ended) is in the range.
page.holds = function (begin, end) {
  if (page.range === null) return true;
  return begin <= page.range[1] && (end === null || end >= page.range[0]);
};

page.ns = function (ns) {
  for (const [scale, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
    if (Math.abs(ns) * 2000 >= scale * 1999) {
      const value = ns / scale, size = Math.abs(value);
      const digits = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
      const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
      return value.toLocaleString("en-US", options) + " " + unit;
    }
  }
  return Math.round(ns) + " ns";
};

page.counted = function (count, what) {
  return count.toLocaleString("en-US") + " " + what + (count === 1 ? "" : "s");
};

page.svg = function (name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
  return made;
};

page.whose = (number) => page.data.text[number];

for (const element of document.querySelectorAll(".controls")) element.hidden = false;
