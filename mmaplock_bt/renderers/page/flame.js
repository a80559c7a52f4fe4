
"use strict";
// Flame graphs: drawn again for a range of time, a zoomed frame, a word that is searched.
(function () {
  const ROW = 18, LEAST = 0.1, PLACES = ["all", "actor", "user", "kernel"];
  const said = document.getElementById("frame");
  if (said === null) return;
  const search = document.getElementById("frame-search");
  const graphs = [...document.querySelectorAll(".flame")].map((figure) => ({
    figure, columns: figure.dataset.columns.split(" ").map(Number),
    svg: figure.querySelector("svg"), root: null, top: null, at: null,
  }));

  // It is as wide as its `ns`; `pair` is [base, new] where two series are compared.
  function node(name, place, above) {
    return { name, place, above, ns: 0, pair: [0, 0], below: new Map() };
  }

  function add(one, ns, pair) {
    one.ns += ns;
    one.pair = one.pair.map((old, turn) => old + (pair[turn] || 0));
  }

  function build(graph) {
    const root = node("all", "all", null), columns = [...graph.columns].sort();
    for (const [stack, ...all] of weights()) {
      const ns = all[graph.columns[0]], pair = columns.map((column) => all[column]);
      if (pair.every((one) => one === 0)) continue;
      let at = root;
      add(at, ns, pair);
      for (const frame of page.data.stacks[stack]) {
        if (!at.below.has(frame)) {
          const [text, place] = page.data.frames[frame];
          at.below.set(frame, node(page.whose(text), PLACES[place], at));
        }
        at = at.below.get(frame);
        add(at, ns, pair);
      }
    }
    return root;
  }

  // Those of the whole window are sums; those of a range are added up of single holds.
  function weights() {
    if (page.range === null) return page.data.weights;
    return page.data.weighed.filter((one) => page.holds(one[0], one[1])).map((one) => one.slice(2));
  }

  function below(one) {
    return [...one.below.values()].sort((a, b) => b.ns - a.ns);
  }

  function isPair(graph) {
    return graph.columns.length > 1;
  }

  function change(base, now) {
    if (!base || !now) return base === now ? "in neither" : now ? "only in new" : "only in base";
    const options = { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "always" };
    return (100 * (now - base) / base).toLocaleString("en-US", options) + " %";
  }

  function color(graph, one) {
    if (!isPair(graph)) return one.place;
    const [base, now] = one.pair, share = (now - base) / Math.max(base, now, 1);
    const level = page.data.shares.filter((least) => Math.abs(share) >= least).length;
    return level === 0 ? "same" : (share > 0 ? "more" : "less") + level;
  }

  function amount(graph, one) {
    if (!isPair(graph)) return page.ns(one.ns);
    const [base, now] = one.pair;
    return "base " + page.ns(base) + ", new " + page.ns(now) + page.data.per + ", " +
      change(base, now);
  }

  function title(graph, one) {
    const share = graph.root.ns ? (100 * one.ns / graph.root.ns).toFixed(1) : "0.0";
    return one.name + ": " + amount(graph, one) + (isPair(graph) ? "" : ", " + share + " %");
  }

  function name(graph, one) {
    const is = color(graph, one) !== "same" && isPair(graph);
    return is ? one.name + " " + change(...one.pair) : one.name;
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
        width: "100%", height: ROW - 1, fill: page.data.colors[color(graph, one)],
        stroke: "#fff", "stroke-width": ".5",
      }));
      if (width > 1.5) {
        const text = page.svg("text", {
          x: 3, y: 12, "font-size": 11, "font-family": "sans-serif", fill: "#111",
        });
        text.textContent = name(graph, one);
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
    graph.figure.querySelector(".root").textContent = amount(graph, graph.root);
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
      graph.root = graph.top = build(graph);
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
    said.textContent = search.value === "" ? "" : "Frames with this word: " + page.ns(ns) +
      (page.data.per || "") + ", " +
      (100 * ns / (graph.root.ns || 1)).toFixed(1) + " %";
  });
  document.getElementById("unzoom").addEventListener("click", () => {
    for (const graph of graphs) zoom(graph, graph.root);
  });
  page.listeners.push(rebuild);
  show();
  rebuild();
})();
