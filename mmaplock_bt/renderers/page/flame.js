
"use strict";
// Flame graphs: drawn again for a range of time, a zoomed frame, a word that is searched.
(function () {
  const ROW = 18, LEAST = 0.1, PLACES = ["all", "actor", "user", "kernel"];
  const COLORS = { all: "#d9d9d9", actor: "#c9d3e6", user: "#bfe3b4", kernel: "#f6d58a" };
  const said = document.getElementById("frame");
  if (said === null) return;
  const search = document.getElementById("frame-search");
  const graphs = [...document.querySelectorAll(".flame")].map((figure, turn) => ({
    figure, turn, svg: figure.querySelector("svg"), root: null, top: null, at: null,
  }));

  function node(name, place, above) {
    return { name, place, above, ns: 0, below: new Map() };
  }

  function build(weights) {
    const root = node("all", "all", null);
    for (const [stack, ns] of weights) {
      if (ns === 0) continue;
      let at = root;
      at.ns += ns;
      for (const frame of page.data.stacks[stack]) {
        if (!at.below.has(frame)) {
          const [text, place] = page.data.frames[frame];
          at.below.set(frame, node(page.whose(text), PLACES[place], at));
        }
        at = at.below.get(frame);
        at.ns += ns;
      }
    }
    return root;
  }

  // Those of the whole window are sums; those of a range are added up of single holds.
  function weights(graph) {
    if (page.range === null) return page.data.weights.map((one) => [one[0], one[1 + graph.turn]]);
    return page.data.weighed.filter((one) => page.holds(one[0], one[1]))
      .map((one) => [one[2], one[3 + graph.turn]]);
  }

  function below(one) {
    return [...one.below.values()].sort((a, b) => b.ns - a.ns);
  }

  function title(graph, one) {
    const share = graph.root.ns ? (100 * one.ns / graph.root.ns).toFixed(1) : "0.0";
    return one.name + ": " + page.ns(one.ns) + ", " + share + " %";
  }

  function draw(graph) {
    const word = search.value.toLowerCase(), parts = [];
    let depth = 0, narrow = 0;
    function frame(one, level, x, width) {
      if (width < LEAST) {
        narrow += 1;
        return;
      }
      depth = Math.max(depth, level);
      const made = page.svg("svg", {
        x: x + "%", width: width + "%", y: ROW * level, height: ROW - 1, class: "f",
      });
      if (word !== "" && one.name.toLowerCase().includes(word)) made.classList.add("found");
      if (one === graph.at) made.classList.add("at");
      const tip = page.svg("title", {});
      tip.textContent = title(graph, one);
      made.append(tip, page.svg("rect", {
        class: one.place, width: "100%", height: ROW - 1, fill: COLORS[one.place],
        stroke: "#fff", "stroke-width": ".5",
      }));
      if (width > 1.5) {
        const text = page.svg("text", {
          x: 3, y: 12, "font-size": 11, "font-family": "sans-serif", fill: "#111",
        });
        text.textContent = one.name;
        made.append(text);
      }
      made.addEventListener("click", () => zoom(graph, one));
      parts.push(made);
    }
    const above = [];
    for (let one = graph.top.above; one !== null; one = one.above) above.unshift(one);
    above.forEach((one, level) => frame(one, level, 0, 100));
    (function walk(one, level, x) {
      const width = graph.top.ns ? 100 * one.ns / graph.top.ns : 0;
      frame(one, level, x, width);
      if (width < LEAST) return;
      for (const next of below(one)) {
        walk(next, level + 1, x);
        x += 100 * next.ns / graph.top.ns;
      }
    })(graph.top, above.length, 0);
    graph.svg.setAttribute("height", ROW * (depth + 1));
    graph.svg.replaceChildren(...parts);
    graph.figure.dataset.root = graph.root.ns;
    graph.figure.querySelector(".root").textContent = page.ns(graph.root.ns);
    const note = graph.figure.querySelector(".narrow");
    if (note !== null) note.hidden = true;
    return narrow;
  }

  function zoom(graph, one) {
    graph.top = graph.at = one;
    draw(graph);
    said.textContent = title(graph, one);
  }

  function found(graph) {
    const word = search.value.toLowerCase();
    let ns = 0;
    (function walk(one) {
      if (one.name.toLowerCase().includes(word)) ns += one.ns;
      else one.below.forEach(walk);
    })(graph.root);
    return ns;
  }

  function move(graph, key) {
    const at = graph.at || graph.top;
    const beside = at.above === null ? [at] : below(at.above);
    const turn = beside.indexOf(at);
    const next = {
      ArrowUp: at.above, ArrowDown: below(at)[0], ArrowLeft: beside[turn - 1],
      ArrowRight: beside[turn + 1],
    }[key];
    if (!next) return;
    graph.at = next;
    draw(graph);
    said.textContent = title(graph, next);
  }

  function press(graph, event) {
    if (event.key.startsWith("Arrow")) move(graph, event.key);
    else if (event.key === "Enter" && graph.at) zoom(graph, graph.at);
    else if (event.key === "Escape") zoom(graph, graph.root);
    else return;
    event.preventDefault();
  }

  function show() {
    const chosen = document.querySelector("input[name=weight]:checked").value;
    for (const graph of graphs) graph.figure.hidden = graph.figure.id !== "flame-" + chosen;
  }

  function rebuild() {
    for (const graph of graphs) {
      graph.root = graph.top = build(weights(graph));
      graph.at = null;
      draw(graph);
    }
  }

  for (const graph of graphs) graph.svg.addEventListener("keydown", (key) => press(graph, key));
  for (const one of document.querySelectorAll("input[name=weight]")) {
    one.addEventListener("change", show);
  }
  search.addEventListener("input", () => {
    graphs.forEach(draw);
    const graph = graphs.find((one) => !one.figure.hidden), ns = found(graph);
    said.textContent = search.value === "" ? "" : "Frames with this word: " + page.ns(ns) + ", " +
      (100 * ns / (graph.root.ns || 1)).toFixed(1) + " %";
  });
  document.getElementById("unzoom").addEventListener("click", () => {
    for (const graph of graphs) zoom(graph, graph.root);
  });
  page.listeners.push(rebuild);
  show();
  rebuild();
})();
