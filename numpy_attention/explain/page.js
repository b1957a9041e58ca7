"use strict";
/* The page itself: it shows the numbers of a replayed run and lets the reader change what goes in. */

const BOS = 1;
const PAIRS = { e: "de", alpha: "dalpha", c: "dc", s: "ds", query: "dquery", keys: "dkeys", logits: "dlogits" };
const VALUES = Object.fromEntries(Object.entries(PAIRS).map(([value, gradient]) => [gradient, value]));
const LANES = ["context", "key", "bridge", "recurrent"];
const SYMBOLS = { x: "(x W + b)", y: "(y W + b)", h: "h", keys: "key", query: "query", e: "e", alpha: "α", c: "c", s: "s", logits: "logits", p: "softmax",
  dh_context: "∂L/∂h by context", dh_key: "∂L/∂h by key", through: "∂L/∂h by recurrence" };
const NEVER = 1e9; // a time after the last call

const $ = (id) => document.getElementById(id);
const state = { variant: 0, moment: 0, mistake: -1, step: 1, stage: 0, source: [], target: [], edits: {}, weight: "" };
let data, runs, base, shown, vanilla, blocks = [], playing = null, filming = null, chosen = null;

function element(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children.filter((child) => child != null));
  return found;
}

/* A number in few letters: .42, -1.3, 2e-5. */
function few(x) {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return "nan";
  if (size === Infinity) return x < 0 ? "−∞" : "∞";
  let text = "0";
  if (size >= 100) text = size.toFixed(0);
  else if (size >= 10) text = size.toFixed(1);
  else if (size >= 0.995) text = size.toFixed(2).slice(0, 3);
  else if (size >= 0.005) text = size.toFixed(2).slice(1);
  else if (size > 0) text = size.toExponential(0).replace("e-", "e-");
  return (x < 0 && size > 0 ? "−" : "") + text;
}

const digits = (x) => (x === 0 ? "0" : String(Number(x.toPrecision(5)))).replace("-", "−").replace("e−", "e-");
const whole = (x) => String(x).replace("-", "−");

/* x_{u,t} and U^T of an equation, as sub- and superscripts. */
function equation(text) {
  const found = element("span", { class: "equation" });
  const greek = text.replaceAll("alpha", "α").replaceAll("dL/d", "∂L/∂").replace(/\bsum_/g, "Σ_").replaceAll(" . ", " · ");
  for (const [, plain, sub, up] of greek.matchAll(/([^_^]+)|_\{([^}]*)\}|\^(\w)|_(\w+)/g).map((m) => [0, m[1], m[2] ?? m[4], m[3]])) {
    if (plain) found.append(plain);
    else found.append(element(up ? "sup" : "sub", {}, up ?? sub));
  }
  return found;
}

/* The same for a sentence, in the page's own type. */
function prose(text) {
  const found = equation(text);
  found.className = "";
  return found;
}

function colour(x, scale) {
  if (!(Math.abs(x) > 0) || !scale) return "";
  const share = 0.06 + 0.54 * Math.min(1, Math.abs(x) / scale);
  return `rgba(var(--${x > 0 ? "positive" : "negative"}), ${share.toFixed(3)})`;
}

// ---------------------------------------------------------------------------------------------- numbers

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function parametersOf(variant, moment) {
  const found = data.variants[variant].moments[moment];
  if (!found.numbers) {
    found.numbers = {};
    for (const [name, text] of Object.entries(found.params)) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
      found.numbers[name] = Float64Array.from(found.bits === 32 ? new Float32Array(bytes) : new Float64Array(bytes));
    }
  }
  return found.numbers;
}

/* Everything that goes in: parameters, with the reader's changes, and tokens. */
function inputsOf(variant, moment) {
  const found = { ...parametersOf(variant, moment) };
  for (const [name, changes] of Object.entries(state.edits)) {
    if (!(name in found)) continue;
    found[name] = found[name].slice();
    for (const [entry, value] of Object.entries(changes)) found[name][entry] = value;
  }
  found.source = state.source;
  found.target_output = state.target;
  found.target_input = [BOS, ...state.target.slice(0, -1)];
  return found;
}

function replayed(trace, inputs) {
  const { replay, provenance } = runs[trace];
  provenance.inputs = inputs;
  return { replay, provenance, trace: replay.trace, memory: replay.run(replay.memory(inputs)) };
}

/* Replay what the page shows: the run itself, with a planted mistake perhaps, and the vanilla model. */
function compute() {
  const variant = data.variants[state.variant], inputs = inputsOf(state.variant, state.moment);
  base = replayed(variant.trace, inputs);
  shown = state.mistake < 0 ? base : replayed(data.mistakes[state.mistake].trace, inputs);
  const other = data.variants.findIndex((each) => each.key === "vanilla");
  const moment = other < 0 ? -1 : data.variants[other].moments.findIndex((each) => each.updates === variant.moments[state.moment].updates);
  vanilla = moment < 0 ? null : replayed(data.variants[other].trace, inputsOf(other, moment));
}

/* Places of a marked array, its first axes fixed: {mark, buffer, at}; null if the run has no such array. */
function places(run, mark, ...index) {
  const view = run.trace.marks[mark];
  if (view === undefined) return null;
  const [buffer, offset, shape, strides] = run.trace.views[view];
  const start = index.reduce((sum, one, axis) => sum + one * strides[axis], offset);
  return { mark, buffer, at: stretch(start, shape.slice(index.length), strides.slice(index.length)) };
}

const numbers = (run, found) => (found ? Array.from(found.at, (at) => run.memory[found.buffer][at]) : []);

function output(run, name) {
  return run.replay.read(run.memory, run.trace.outputs[name]);
}

/* Ways by which a gradient reaches h_t: places of each lane; the recurrence's is the bridge where a direction ends. */
function lanesAt(run, t) {
  const real = state.source.length - 1, last = real - 1;
  const found = { context: places(run, "dh_context", 0, t), key: places(run, "dh_key", 0, t) };
  const through = places(run, "through", 0, 0, t);
  const half = data.bidirectional ? through.at.length / 2 : through.at.length;
  const part = (from, to, end) => ({ ...through, at: through.at.slice(from, to), from, bridge: end });
  found.recurrence = [part(0, half, t === last), ...(data.bidirectional ? [part(half, 2 * half, t === 0)] : [])];
  return found;
}

/* The numbers of each lane at h_t, all of the same length, zero where a lane does not exist. */
function laneNumbers(run, t) {
  const lanes = lanesAt(run, t), size = lanes.recurrence.reduce((sum, part) => sum + part.at.length, 0);
  const found = Object.fromEntries(LANES.map((lane) => [lane, new Array(size).fill(0)]));
  for (const lane of ["context", "key"]) if (lanes[lane]) found[lane] = numbers(run, lanes[lane]);
  for (const part of lanes.recurrence) {
    const lane = found[part.bridge ? "bridge" : "recurrent"];
    numbers(run, part).forEach((x, i) => { lane[part.from + i] = x; });
  }
  return found;
}

const norm = (list) => Math.hypot(...list);

// ---------------------------------------------------------------------------------------------- blocks

/* A block of cells: a value, and under it its gradient. `at(run, which)` gives the places, or lane numbers. */
function block({ name, symbol, about, stage, back, at, scale = 1, across, wide = false, padded = false, more }) {
  const found = { name, symbol, stage, back, at, scale, cells: { value: [], gradient: [] }, strips: {} };
  const count = (at(shown, "value") ?? at(shown, "gradient"))?.at.length ?? 0;
  const columns = across ?? Math.min(8, Math.ceil(Math.sqrt(count)));
  const style = `grid-template-columns: repeat(${phone() ? Math.min(columns, 2) : columns}, max-content)`;
  found.element = element("div", { class: `block${padded ? " padded" : ""}`, role: "group", "aria-label": `${about}, ${count} numbers` });
  if (symbol) {
    found.element.append(element("button", { class: "label", title: about, onclick: () => tellStage(stage ?? back) }, equation(symbol)));
  }
  for (const which of ["value", "gradient"]) {
    if (!at(shown, which)) continue;
    const strip = element("div", { class: "strip" }, which === "gradient" ? "gradient" : "");
    const cells = element("div", { class: "cells", style });
    for (let i = 0; i < count; i++) {
      const cell = element("button", { class: `cell${wide ? " wide" : ""}`, tabindex: i || which === "gradient" ? -1 : 0,
        onclick: () => choose(found, which, i),
        onfocus: () => cell.setAttribute("aria-label", `${nameIn(found, which, i)} = ${cell.dataset.number}`) });
      cell.addEventListener("keydown", (event) => moveFocus(event, cells, i, columns));
      cells.append(cell);
      found.cells[which].push(cell);
    }
    found.strips[which] = strip;
    strip.append(cells);
    found.element.append(strip);
    if (which === "value" && more) found.element.append(more);
  }
  blocks.push(found);
  return found.element;
}

const phone = () => matchMedia("(max-width: 600px)").matches;

/* Arrow keys move among the cells of a block; elsewhere they walk. */
function moveFocus(event, cells, i, columns) {
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (!by) return;
  event.preventDefault();
  event.stopPropagation();
  cells.children[i + by]?.focus();
}

function nameIn(found, which, i) {
  const place = found.at(shown, which);
  if (place.lanes) return `dL/dh_${place.t + 1}[${i}]`;
  return nameOf(shown, { buffer: place.buffer, at: place.at[i] }).text;
}

/* Fill in the numbers of every block. */
function refresh() {
  const largest = {};
  for (const each of blocks) {
    const place = each.at(shown, "gradient");
    const list = place ? place.lanes ? sumOfLanes(place.lanes) : numbers(shown, place) : [];
    largest[each.name] = Math.max(largest[each.name] ?? 0, ...list.map(Math.abs));
  }
  for (const each of blocks) {
    each.element.classList.toggle("wrong", state.mistake >= 0 && differs(each));
    for (const which of ["value", "gradient"]) {
      if (!each.cells[which].length) continue;
      const place = each.at(shown, which);
      const list = place.lanes ? sumOfLanes(place.lanes) : numbers(shown, place);
      const scale = which === "gradient" ? largest[each.name] : each.scale || Math.max(...list.map(Math.abs));
      list.forEach((x, i) => {
        const cell = each.cells[which][i];
        cell.textContent = few(x);
        cell.dataset.number = x;
        cell.style.background = colour(x, scale);
      });
    }
  }
}

const sumOfLanes = (lanes) => lanes.context.map((_, i) => LANES.reduce((sum, lane) => sum + lanes[lane][i], 0));

/* True if a planted mistake has changed the gradient of a block. */
function differs(each) {
  const read = (run) => {
    const place = each.at(run, "gradient");
    return place ? place.lanes ? sumOfLanes(place.lanes) : numbers(run, place) : [];
  };
  return unequal(read(shown), read(base));
}

function unequal(one, other) {
  const scale = Math.max(...Array.from(other, Math.abs), 1e-300);
  return Array.from(one).some((x, i) => !(Math.abs(x - other[i]) <= 1e-9 * scale));
}

// ---------------------------------------------------------------------------------------------- the board

function build() {
  blocks = [];
  const T = state.source.length, attends = shown.trace.marks["alpha/1"] !== undefined, keys = shown.trace.marks.keys;
  const u = () => state.step;
  const gradientOf = (mark) => (run, which, ...index) => places(run, which === "value" ? mark() : PAIRS[mark().split("/")[0]] + (mark().includes("/") ? `/${mark().split("/")[1]}` : ""), ...index);
  const grid = element("div", { class: "source", style: `grid-template-columns: ${phone() ? "" : "max-content"} repeat(${T}, max-content)` });
  const row = (name, make) => {
    grid.append(element("div", { class: "name" }, name));
    for (let t = 0; t < T; t++) grid.append(make(t, t === T - 1) ?? "");
  };
  row("source", (t, padded) => (padded ? element("span", { class: "place" }, "padding")
    : words(data.sourceWords, state.source, t, `Source word ${t + 1}`)));
  row("encoder state", (t, padded) => block({
    name: "h", symbol: `h_${t + 1}`, about: `Encoder state ${t + 1}${padded ? ", padding" : ""}`, stage: "h", back: "dh", padded,
    at: (run, which) => {
      if (which === "value") return places(run, "h", 0, t);
      const lanes = laneNumbers(run, t);
      return { lanes, t, at: lanes.context };
    },
  }));
  grid.append(element("div", { class: "lanes", id: "lanes" }));
  if (attends) {
    if (keys !== undefined && keys !== shown.trace.marks.h && runs[data.variants[state.variant].trace].replay.trace.views[keys].join() !== runs[data.variants[state.variant].trace].replay.trace.views[shown.trace.marks.h].join()) {
      row("key", (t, padded) => block({ name: "keys", symbol: `key_${t + 1}`, about: `Key ${t + 1}`, stage: "keys", back: "dh", padded, scale: 0,
        at: (run, which) => places(run, which === "value" ? "keys" : "dkeys", 0, t) }));
    }
    const one = (name, stage, back, label, scale) => row(label, (t, padded) => {
      const bars = name === "alpha" ? element("div", { class: "bars", "data-bar": t, title: "attention weight" }, element("div")) : null;
      const at = (run, which) => {
        const all = places(run, `${which === "value" ? name : PAIRS[name]}/${u()}`, 0);
        return { ...all, at: all.at.slice(t, t + 1) };
      };
      return block({ name, symbol: "", about: `${label} ${t + 1}`, stage, back, padded, scale, wide: true, at, more: bars });
    });
    one("e", "e", "de", "score e", 0);
    one("alpha", "alpha", "dalpha", "attention weight α", 1);
  }
  const state_of = (v, label, stage, back) => block({ name: "s", symbol: label, about: "Decoder state", stage, back, at: (run, which) => places(run, `${which === "value" ? "s" : "ds"}/${v()}`, 0) });
  const row2 = element("div", { class: "decoder" });
  row2.append(state_of(() => u() - 1, "s_{u-1}", "s_0", "ds_before"));
  if (shown.trace.marks["query/1"] !== undefined) {
    row2.append(block({ name: "query", symbol: "query_u", about: "Query", stage: "query", back: "dquery", scale: 0, at: (run, which) => places(run, `${which === "value" ? "query" : "dquery"}/${u()}`, 0) }));
  }
  if ("alignment.v" in shown.trace.inputs) {
    const input = (run, which) => {
      const view = which === "value" ? run.trace.inputs["alignment.v"] : run.trace.outputs["dalignment.v"];
      return { buffer: run.trace.views[view][0], at: run.replay.positions(view) };
    };
    row2.append(block({ name: "v", symbol: "v", about: "Parameter v of the alignment", stage: "e", back: "de", scale: 0, at: input }));
  }
  if (attends) row2.append(block({ name: "c", symbol: "c_u", about: "Context", stage: "c", back: "dc", at: (run, which) => places(run, `${which === "value" ? "c" : "dc"}/${u()}`, 0) }));
  row2.append(state_of(u, "s_u", "s", "ds"), logits());
  $("board").replaceChildren(grid, row2);
}

/* A menu of words; token ids are kept in `list`. */
function words(vocabulary, list, at, label) {
  const menu = element("select", { "aria-label": label, onchange: () => { list[at] = Number(menu.value); update(); } });
  vocabulary.forEach((word, token) => { if (token > 2) menu.append(element("option", { value: token }, word)); });
  menu.value = list[at];
  return menu;
}

/* Logits, probabilities, and the gradient of the logits, a word a line. */
function logits() {
  const V = data.targetWords.length;
  const at = (run, which) => places(run, which === "value" ? "logits" : "dlogits", state.step - 1, 0);
  const found = { name: "logits", stage: "logits", back: "dlogits", at, scale: 0, cells: { value: [], gradient: [] }, strips: {} };
  const table = element("div", { class: "logit", id: "logits" });
  const order = Array.from({ length: V }, (_, k) => k).slice(1, 1 + 40);
  for (let k = 0; k < V; k++) {
    for (const which of ["value", "gradient"]) {
      found.cells[which].push(element("button", { class: "cell wide", tabindex: which === "value" && k === 1 ? 0 : -1, onclick: () => choose(found, which, k),
        onfocus: (event) => event.target.setAttribute("aria-label", `${which} of the logit of ${data.targetWords[k]}: ${event.target.dataset.number}`) }));
    }
  }
  for (const k of order) {
    table.append(element("span", { "data-word": k }, data.targetWords[k]), found.cells.value[k],
      element("div", { title: "probability" }, element("div", { class: "chance", "data-chance": k })), found.cells.gradient[k]);
  }
  found.element = element("div", { class: "block", role: "group", "aria-label": "Logits, probabilities and gradient of the logits" },
    element("button", { class: "label", onclick: () => tellStage("logits") }, equation("logits_u"), element("small", {}, "  probability  gradient")), table);
  if (V > 41) found.element.append(element("p", { class: "place" }, `the first 40 of ${V - 1} words`));
  blocks.push(found);
  return found.element;
}

/* What is no block of cells: bars, probabilities, lanes. */
function decorate() {
  const alpha = numbers(shown, places(shown, `alpha/${state.step}`, 0));
  document.querySelectorAll("[data-bar]").forEach((bar) => { bar.firstChild.style.height = `${100 * alpha[bar.dataset.bar]}%`; });
  const width = data.targetWords.length, p = numbers(shown, places(shown, "p", (state.step - 1)));
  document.querySelectorAll("[data-chance]").forEach((bar) => {
    bar.style.width = `${100 * p[bar.dataset.chance]}%`;
    bar.parentElement.title = `probability ${digits(p[bar.dataset.chance])} of ${width} words`;
  });
  document.querySelectorAll("[data-word]").forEach((word) => word.classList.toggle("right", Number(word.dataset.word) === state.target[state.step - 1]));
  drawLanes();
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const found = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

/* Gradients that arrive at each encoder state: an arrow a lane, as wide as its share. */
function drawLanes() {
  const host = $("lanes"), columns = Array.from(document.querySelectorAll(".source > .block")).slice(0, state.source.length);
  const reached = indexOf("dh") <= state.stage;
  const left = host.getBoundingClientRect().left, width = host.parentElement.scrollWidth;
  const drawing = svg("svg", { width, height: reached ? 96 : 18, role: "img", "aria-label": "Gradient that arrives at each encoder state, by path" });
  if (!reached) {
    drawing.append(svg("text", { x: 0, y: 13, class: "quiet" }, "the gradients that arrive here appear at the end of the walk"));
    host.replaceChildren(drawing);
    return;
  }
  let x = 0;
  for (const lane of LANES) {
    if (!shown.trace.marks["dh_context"] && (lane === "context" || lane === "key")) continue;
    drawing.append(svg("rect", { x, y: 4, width: 10, height: 10, fill: `var(--${lane})` }), svg("text", { x: x + 14, y: 13 }, lane));
    x += 34 + 6.2 * lane.length;
  }
  const all = columns.map((_, t) => LANES.map((lane) => norm(laneNumbers(shown, t)[lane])));
  const most = Math.max(...all.map((sizes) => sizes.reduce((a, b) => a + b, 0)), 1e-300);
  columns.forEach((column, t) => {
    const box = column.getBoundingClientRect(), middle = box.left - left + box.width / 2, total = all[t].reduce((a, b) => a + b, 0);
    if (t === columns.length - 1) {
      drawing.append(svg("text", { x: middle, y: 52, "text-anchor": "middle", class: "quiet" }, "nothing"));
      return;
    }
    let from = middle - 26 * 0.5;
    const full = 26; // pixels for all lanes together; their length tells how much arrives
    const height = 14 + 34 * (total / most);
    LANES.forEach((lane, k) => {
      const share = total ? all[t][k] / total : 0, wide = full * share;
      if (wide < 0.2) return;
      const arrow = svg("path", { d: `M${from} ${78} V${82 - height} H${from + wide} V${78} Z`, fill: `var(--${lane})` });
      arrow.append(svg("title", {}, `${lane}: ${(100 * share).toFixed(1)} % of what arrives at h_${t + 1}, norm ${digits(all[t][k])}`));
      drawing.append(arrow);
      from += wide;
    });
    const best = all[t].indexOf(Math.max(...all[t]));
    drawing.append(svg("path", { d: `M${middle - 5} 24 L${middle} 18 L${middle + 5} 24`, fill: "none", stroke: "var(--quiet)" }));
    drawing.append(svg("text", { x: middle, y: 92, "text-anchor": "middle" }, `${(100 * all[t][best] / (total || 1)).toFixed(0)} % ${LANES[best]}`));
  });
  host.replaceChildren(drawing);
}

// ---------------------------------------------------------------------------------------------- overview

function overview() {
  const figures = [];
  if (shown.trace.marks["alpha/1"] !== undefined) figures.push(attentionMap());
  figures.push(laneFigure(shown, data.variants[state.variant].label));
  if (vanilla && data.variants[state.variant].key !== "vanilla") figures.push(laneFigure(vanilla, "trained without attention"));
  $("overview").replaceChildren(...figures);
}

const sourceWord = (t) => (t === state.source.length - 1 ? "pad" : data.sourceWords[state.source[t]]);
const targetWord = (u) => data.targetWords[state.target[u - 1]];

function attentionMap() {
  const table = element("table", { class: "map" });
  table.append(element("tr", {}, element("th", {}, ""), ...state.source.map((_, t) => element("th", { scope: "col" }, sourceWord(t)))));
  state.target.forEach((_, k) => {
    const alpha = numbers(shown, places(shown, `alpha/${k + 1}`, 0));
    table.append(element("tr", { class: k + 1 === state.step ? "now" : "" }, element("th", { scope: "row" }, targetWord(k + 1)),
      ...alpha.map((x, t) => element("td", {}, element("button", { tabindex: -1, style: `background: rgba(var(--positive), ${x.toFixed(3)})`,
        title: `α = ${digits(x)}`, "aria-label": `weight of ${sourceWord(t)} for ${targetWord(k + 1)}: ${digits(x)}`, onclick: () => setStep(k + 1) })))));
  });
  return element("figure", {}, element("figcaption", {}, element("b", {}, "Attention"), ": source across, target down"), table);
}

/* The gradient that arrives at each source word, by path, on one scale for all models. */
function laneFigure(run, label) {
  const T = state.source.length - 1, sizes = (each) => Array.from({ length: T }, (_, t) => {
    const lanes = laneNumbers(each, t);
    return LANES.map((lane) => norm(lanes[lane]));
  });
  const total = (list) => list.reduce((a, b) => a + b, 0);
  const all = sizes(run), most = Math.max(...[shown, vanilla].filter(Boolean).flatMap((each) => sizes(each).map(total)), 1e-300);
  const wide = Math.max(22, Math.min(40, 260 / T)), height = 96;
  const drawing = svg("svg", { width: Math.max(240, T * wide + 8), height: height + 34, role: "img", "aria-label": `Size of the gradient at each source word, ${label}` });
  all.forEach((lanes, t) => {
    let y = height;
    LANES.forEach((lane, k) => {
      const size = (height - 6) * lanes[k] / most;
      const bar = svg("rect", { x: 4 + t * wide, y: y - size, width: wide - 4, height: size, fill: `var(--${lane})` });
      bar.append(svg("title", {}, `${lane} at ${sourceWord(t)}: ${digits(lanes[k])}`));
      drawing.append(bar);
      y -= size;
    });
    drawing.append(svg("text", { x: 2 + t * wide + wide / 2, y: height + 14, "text-anchor": "middle" }, sourceWord(t)));
  });
  drawing.append(svg("text", { x: 4, y: height + 30, class: "quiet" }, `at the first word: ${digits(total(all[0]))}`));
  const loss = output(run, "loss")[0];
  return element("figure", {}, element("figcaption", {}, element("b", {}, "Gradient at each source word"), `: ${label}, loss ${digits(loss)}`), drawing);
}

// ---------------------------------------------------------------------------------------------- the walk

const stages = () => runs[data.variants[state.variant].trace].stages;
const indexOf = (key) => stages().findIndex((stage) => stage.key === key);

/* Where the code makes what a stage is about: the last call that writes its array. */
function lineOf(key) {
  const mark = { h: "h", s_0: "s/0", keys: "keys", logits: "logits", dlogits: "dlogits", dh: "dh_context", ds_before: `ds/${state.step - 1}` }[key] ?? `${key}/${state.step}`;
  const place = key === "loss" ? { buffer: shown.trace.views[shown.trace.outputs.loss][0], at: [shown.replay.positions(shown.trace.outputs.loss)[0]] } : places(shown, mark) ?? (key === "dh" ? places(shown, "through") : null);
  if (!place) return null;
  const from = shown.provenance.origin({ buffer: place.buffer, at: place.at[0] }, NEVER > 0 ? shown.replay.calls.length : 0, shown.memory);
  return from.call < 0 ? null : from.call;
}

function tell() {
  const stage = stages()[state.stage], call = lineOf(stage.key);
  const code = call === null ? "" : codeOf(call);
  const mistake = state.mistake < 0 ? null : mistakeText();
  $("told").replaceChildren(
    element("p", {}, element("b", {}, `${state.stage + 1}. ${stage.title}`), "   ", equation(stage.equation)),
    element("p", {}, prose(stage.about)), element("p", { class: "place" }, code), ...(mistake ? [mistake] : []));
  $("board").classList.toggle("forward", !stage.backward);
  $("stage").value = state.stage;
  $("back").disabled = state.stage === 0;
  $("next").disabled = state.stage === stages().length - 1;
  blocks.forEach((each) => {
    const value = indexOf(each.stage), gradient = indexOf(each.back);
    const here = stage.key === each.stage || stage.key === each.back;
    each.element.classList.toggle("now", here);
    each.element.classList.toggle("later", value > state.stage);
    const reached = gradient >= 0 && gradient <= state.stage;
    for (const cell of each.cells.gradient) cell.style.visibility = reached ? "" : "hidden";
    each.strips.gradient?.classList.toggle("hidden", !reached);
  });
}

/* The line of Python of a call: the equation's own, not the helper's under it. */
function codeOf(call) {
  const where = shown.provenance.where(call), line = where.find((each) => each.file !== "ops/elementary.py") ?? where[0];
  const found = element("span", {}, element("span", { class: "place" }, `${line.file}:${line.line}  `), element("code", {}, line.text));
  const caller = where[where.indexOf(line) + 1];
  if (caller) found.append(element("span", { class: "place" }, `  called by ${caller.name}, ${caller.file}:${caller.line}`));
  return found;
}

function mistakeText() {
  const mistake = data.mistakes[state.mistake], wrong = Object.keys(shown.trace.outputs).filter((name) => name !== "loss" && unequal(output(shown, name), output(base, name)));
  const parameters = wrong.map((name) => name.slice(1));
  return element("div", {},
    element("p", { class: "wrong-text" }, `Planted: ${mistake.name}. Red frames and these weights have wrong gradients: ${parameters.join(", ") || "none for this sentence"}.`),
    element("p", {}, `The loss is the same, so nothing but a gradient check finds it. ${mistake.said}`));
}

function tellStage(key) {
  const at = indexOf(key);
  if (at >= 0) setStage(at);
}

function setStage(stage) {
  state.stage = Math.max(0, Math.min(stages().length - 1, stage));
  tell();
  drawLanes();
}

function setStep(step) {
  state.step = Math.max(1, Math.min(state.target.length, step));
  controls();
  refreshAll();
}

/* Training as a film: every moment, two seconds each. */
function playFilm() {
  clearInterval(filming);
  state.moment = 0;
  update();
  filming = setInterval(() => {
    if (state.moment === data.variants[state.variant].moments.length - 1) return clearInterval(filming);
    state.moment += 1;
    update();
  }, 2000);
}

function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => (state.stage < stages().length - 1 ? setStage(state.stage + 1) : play(false)), 2200) : null;
  if (on && state.stage === stages().length - 1) setStage(0);
  $("play").setAttribute("aria-pressed", String(Boolean(on)));
  $("play").textContent = on ? "Pause" : "Play";
}

// ---------------------------------------------------------------------------------------------- where a number comes from

/* The name of a place: a marked array, a parameter, a gradient, or a variable of a function. */
function nameOf(run, place) {
  const { trace, provenance } = run;
  const at = (views, where) => Object.entries(views).map(([name, view]) => [name, view, provenance.entry(view, where)]).find((each) => each[2] >= 0);
  const copies = provenance.copies(place);
  const find = (views) => copies.map((copy) => at(views, copy)).find(Boolean);
  const index = (view, entry) => trace.views[view][2].reduceRight(([rest, list], size) => [Math.floor(rest / size), [rest % size, ...list]], [entry, []])[1];
  const mark = find(trace.marks);
  if (mark) {
    const [name, view, entry] = mark, [kind, u] = name.split("/"), at = index(view, entry), last = at.pop();
    const value = VALUES[kind] ?? kind, gradient = kind in VALUES;
    const symbol = SYMBOLS[value] ?? value;
    let text = `${symbol}${u === undefined ? "" : `_${u}`}[${last}]`;
    if (value === "x") text = `(x_${at[0] + 1} W + b)[${last}]`;
    if (value === "z") text = `z_{${u},${at[1] + 1}}[${last}]`;
    if (value === "da") return { text: `dL/d(sum)_${u}[${last}]` };
    if (value === "states") text = `h_${at[0]}[${last}]`;
    if (value === "y") text = `(y_${u - 1} W + b)[${last}]`;
    if (["h", "keys", "dh_context", "dh_key"].includes(value)) text = `${symbol}_${at[1] + 1}[${last}]`;
    if (value === "through") text = `${symbol}_${at[2] + 1}[${last}]`;
    if (value === "e" || value === "alpha") text = `${symbol}_{${u},${last + 1}}`;
    if (value === "logits") text = `${symbol}_${at[0] + 1}[${data.targetWords[last]}]`;
    if (value === "p") text = `${symbol}_${at[0] + 1}[${data.targetWords[last]}]`;
    return { text: gradient ? `dL/d${text}` : text, mark: name, entry };
  }
  const input = find(trace.inputs) ?? find(trace.outputs);
  if (input) {
    const gradient = input[0] in trace.outputs && input[0] !== "loss", name = gradient ? `dL/d${input[0].slice(1)}` : input[0];
    const at = index(input[1], input[2]);
    return { text: at.length ? `${name}[${at.join(",")}]` : name, input: gradient ? undefined : input[0], output: gradient ? input[0] : undefined, entry: input[2] };
  }
  for (const [name, file, , , , , args, variables] of [...trace.frames].reverse()) {
    if (file === "ops/elementary.py") continue;
    const found = find({ ...args, ...variables });
    if (found) return { text: `${found[0]}[${index(found[1], found[2]).join(",")}] in ${name.replaceAll("_", "\u2009_{}")}` };
  }
  return { text: "a number on the way" };
}

function choose(found, which, i) {
  document.querySelectorAll(".cell.chosen").forEach((cell) => cell.classList.remove("chosen"));
  found.cells[which][i].classList.add("chosen");
  chosen = { found, which, i };
  showChosen();
}

function showChosen() {
  if (!chosen) return;
  const place = chosen.found.at(shown, chosen.which);
  if (place.lanes) showLanes(place.lanes, place.t, chosen.i);
  else show({ buffer: place.buffer, at: place.at[chosen.i] });
}

/* The other side of a value or a gradient: the place of the value, and of its gradient. */
function pairOf(run, name) {
  const at = (view, entry) => ({ buffer: run.trace.views[view][0], at: run.replay.positions(view)[entry] });
  if (name.mark) {
    const [kind, u] = name.mark.split("/"), value = VALUES[kind] ?? kind, tail = u === undefined ? "" : `/${u}`;
    const forward = run.trace.marks[value + tail], back = run.trace.marks[(PAIRS[value] ?? "none") + tail];
    if (forward === undefined || back === undefined) return null;
    return { value: at(forward, name.entry), gradient: at(back, name.entry) };
  }
  const parameter = name.input ?? name.output?.slice(1);
  if (parameter === undefined || !(`d${parameter}` in run.trace.outputs)) return null;
  return { value: at(run.trace.inputs[parameter], name.entry), gradient: at(run.trace.outputs[`d${parameter}`], name.entry) };
}

/* The panel of one number. */
function show(place, time = shown.replay.calls.length) {
  const { provenance, memory, trace } = shown, name = nameOf(shown, place), from = provenance.origin(place, time, memory);
  const tree = provenance.equation(place, time, memory);
  const value = tree.value, parts = [element("h2", {}, equation(name.text), ` = ${whole(value)}`)];
  if (!tree.leaf) parts.push(element("p", { class: "formula" }, ...rendered(tree), ` = ${digits(value)}`), ...termTables(tree));
  else if (name.input) parts.push(element("p", {}, trace.inputs[name.input] !== undefined && name.input.includes("e") ? "A parameter: drag it below, under All weights." : "An input."));
  else parts.push(element("p", {}, from.call < 0 ? "A constant of the run." : "Set here, not computed."));
  if (from.call >= 0) parts.push(element("h3", {}, "Made by"), element("p", {}, codeOf(from.call)));
  parts.push(...derivative(name, place), ...readersOf(from, time));
  open(parts);
}

/* The gradient of a number, beside the complex step. */
function derivative(name, place) {
  const pair = pairOf(shown, name);
  if (!pair) return [];
  const gradient = shown.memory[pair.gradient.buffer][pair.gradient.at], step = shown.provenance.complexStep(pair.value);
  return [element("h3", {}, "Its gradient"), compared(gradient, step)];
}

function compared(gradient, step) {
  const scale = Math.max(Math.abs(gradient), Math.abs(step)), apart = Math.abs(gradient - step), same = apart <= 1e-12 * Math.max(scale, 1e-3);
  return element("table", {},
    element("tr", {}, element("td", {}, "backward pass"), element("td", {}, whole(gradient))),
    element("tr", {}, element("td", {}, "complex step"), element("td", {}, whole(step))),
    element("tr", { class: same ? "" : "wrong-text" }, element("td", {}, same ? "the same, but for rounding" : "they differ"), element("td", {}, apart.toExponential(1))));
}

function readersOf(from, time) {
  const readers = shown.provenance.readers(from, from.call + 1), lines = (backward) => readers.filter((each) => (each.number >= shown.trace.forward) === backward);
  const list = (title, found) => (found.length ? [element("h3", {}, title), ...found.slice(0, 5).map((each) => element("p", {}, element("span", { class: "place" }, `${each.line.file}:${each.line.line}  `), element("code", {}, each.line.text)))] : []);
  return [...list("Read in the forward pass by", lines(false)), ...list("Read in the backward pass by", lines(true))];
}

/* The panel of dL/dh_t: four lanes add up to it. */
function showLanes(lanes, t, i) {
  const value = sumOfLanes(lanes)[i], h = places(base, "h", 0, t);
  const source = lanesAt(shown, t), part = source.recurrence.find((each) => i >= each.from && i < each.from + each.at.length);
  const at = { context: source.context && { buffer: source.context.buffer, at: source.context.at[i] }, key: source.key && { buffer: source.key.buffer, at: source.key.at[i] },
    [part.bridge ? "bridge" : "recurrent"]: { buffer: part.buffer, at: part.at[i - part.from] } };
  const row = (lane) => element("tr", {}, element("td", {}, at[lane] ? element("button", { class: "link", onclick: () => show(at[lane]) }, lane) : lane), element("td", {}, digits(lanes[lane][i])));
  open([element("h2", {}, equation(`dL/dh_${t + 1}[${i}]`), ` = ${whole(value)}`),
    element("p", {}, "The sum of what arrives by each path; click one to see its terms."),
    element("table", {}, ...LANES.map(row)),
    element("h3", {}, "Beside the complex step"),
    t === state.source.length - 1 ? element("p", {}, "A padded position: nothing reads this state, so nothing arrives.") : compared(value, shown.provenance.complexStep({ buffer: h.buffer, at: h.at[i] }, true))]);
}

function open(parts) {
  const close = element("button", { "aria-label": "Close", style: "float: right", onclick: () => { $("panel").classList.add("closed"); chosen = null; hint(); } }, "×");
  $("panel").classList.remove("closed");
  $("panel").replaceChildren(close, ...parts);
}

function hint() {
  if (phone()) return $("panel").replaceChildren();
  $("panel").replaceChildren(element("h2", {}, "Click a number"),
    element("p", {}, "It shows the equation with these numbers in it, the line of Python that made it, its largest terms, who reads it later, and its gradient beside the complex step."),
    element("p", {}, "The index in brackets counts from 0, as in Python. A name with dots under it, such as ", element("i", {}, "query"), " or ", element("i", {}, "v"), ", goes to the stage that explains it."),
    element("p", { class: "place" }, "Keys: left and right arrow walk, up and down choose the target step, space plays. In a block, arrows move from cell to cell and Enter opens one."));
}

function leafOf(node) {
  if (node.number) return element("span", {}, digits(node.value));
  const name = nameOf(shown, node.place);
  return element("button", { class: "link", title: `${name.text} = ${whole(node.value)}`, onclick: () => show(node.place, node.time) }, digits(node.value));
}

/* An equation with its numbers. */
function rendered(node, inside = 0) {
  if (node.leaf) return inside > 1 && node.value < 0 ? ["(", leafOf(node), ")"] : [leafOf(node)];
  const part = (k, level) => rendered(node.parts[k], level), paren = (level, list) => (inside > level ? ["(", ...list, ")"] : list);
  switch (node.op) {
    case "add": return paren(1, [...part(0, 1), " + ", ...part(1, 2)]);
    case "subtract": return paren(1, [...part(0, 1), " − ", ...part(1, 2)]);
    case "multiply": return paren(2, [...part(0, 2), " × ", ...part(1, 2)]);
    case "divide": return paren(2, [...part(0, 2), " / ", ...part(1, 3)]);
    case "negative": return paren(2, ["−", ...part(0, 3)]);
    case "square": return [...part(0, 4), element("sup", {}, "2")];
    case "sum": return [element("span", { title: `a sum of ${node.terms.length} terms` }, `Σ(${node.terms.length} terms: ${digits(node.value)})`)];
    case "max": return [`max(${digits(node.value)})`];
    default: return [`${node.op === "log1p" ? "log(1 + " : `${node.op}(`}`, ...part(0, 0), ")"];
  }
}

/* The largest terms of the sums in an equation. */
function termTables(tree) {
  const sums = [], visit = (node) => { if (node.op === "sum") sums.push(node); (node.parts ?? []).forEach(visit); };
  visit(tree);
  return sums.slice(0, 3).map((sum) => {
    const terms = sum.terms.map((factors) => ({ factors, value: factors.reduce((product, factor) => product * factor.value, 1) }));
    terms.sort((one, other) => Math.abs(other.value) - Math.abs(one.value));
    const rows = terms.slice(0, 6).map(({ factors, value }) => element("tr", {},
      element("td", {}, ...factors.flatMap((factor, k) => [k ? " × " : "", named(factor)])), element("td", {}, digits(value))));
    const rest = terms.slice(6).reduce((total, each) => total + each.value, 0);
    if (terms.length > 6) rows.push(element("tr", { class: "place" }, element("td", {}, `${terms.length - 6} more`), element("td", {}, digits(rest))));
    return element("div", {}, element("h3", {}, `The sum ${digits(sum.value)}, its largest terms first`), element("table", {}, ...rows));
  });
}

function named(node) {
  if (node.number) return digits(node.value);
  return element("button", { class: "link", title: whole(node.value), onclick: () => show(node.place, node.time) }, equation(nameOf(shown, node.place).text));
}

// ---------------------------------------------------------------------------------------------- weights

function weights() {
  const names = Object.keys(shown.trace.inputs).filter((name) => `d${name}` in shown.trace.outputs);
  if (!names.includes(state.weight)) state.weight = names.includes("alignment.v") ? "alignment.v" : names[0];
  const menu = element("select", { "aria-label": "Weight", onchange: () => { state.weight = menu.value; weights(); } }, ...names.map((name) => element("option", { value: name }, name)));
  menu.value = state.weight;
  const view = shown.trace.inputs[state.weight], shape = shown.trace.views[view][2], across = shape.at(-1);
  const grid = (title, list, make) => {
    const scale = Math.max(...list.map(Math.abs), 1e-300);
    return element("div", {}, element("h3", {}, title), element("div", { class: "cells", style: `grid-template-columns: repeat(${across}, max-content)` },
      ...Array.from(list, (x, i) => make(x, i, colour(x, scale)))));
  };
  const inputs = inputsOf(state.variant, state.moment), changed = state.edits[state.weight] ?? {};
  const values = grid(`${state.weight} (${shape.join(" × ")}): drag up or down, or + and −`, Array.from(inputs[state.weight]), (x, i, background) => {
    const cell = element("button", { class: `cell${i in changed ? " edited" : ""}`, style: `background: ${background}`, tabindex: i ? -1 : 0, title: whole(x), "aria-label": `${state.weight} entry ${i}: ${few(x)}` }, few(x));
    draggable(cell, state.weight, i, x);
    return cell;
  });
  const slope = output(shown, `d${state.weight}`), truth = output(base, `d${state.weight}`);
  const gradient = grid("its gradient", Array.from(slope), (x, i, background) => element("button", { class: "cell", style: `background: ${background}`, tabindex: -1, title: whole(x),
    onclick: () => show({ buffer: shown.trace.views[shown.trace.outputs[`d${state.weight}`]][0], at: shown.replay.positions(shown.trace.outputs[`d${state.weight}`])[i] }) }, few(x)));
  gradient.classList.add("block");
  gradient.classList.toggle("wrong", state.mistake >= 0 && unequal(slope, truth));
  const reset = element("button", { onclick: () => { state.edits = {}; update(); }, disabled: !Object.keys(state.edits).length }, "Undo all changes");
  $("weight").replaceChildren(element("div", {}, menu, " ", reset), values, gradient);
}

function draggable(cell, name, entry, value) {
  const set = (next) => { (state.edits[name] ??= {})[entry] = next; };
  cell.addEventListener("pointerdown", (down) => {
    if (!$("weights").open) return;
    cell.setPointerCapture(down.pointerId);
    let waiting = false;
    const move = (event) => {
      set(value + (down.clientY - event.clientY) * 0.02);
      cell.textContent = few(state.edits[name][entry]);
      cell.classList.add("edited");
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; update(false); });
    };
    cell.addEventListener("pointermove", move);
    cell.addEventListener("pointerup", () => { cell.removeEventListener("pointermove", move); update(); }, { once: true });
  });
  cell.addEventListener("keydown", (event) => {
    const by = { "+": 0.1, "-": -0.1 }[event.key];
    if (!by) return;
    set(value + by);
    update();
    document.querySelectorAll("#weight .cells")[0].children[entry].focus();
  });
}

// ---------------------------------------------------------------------------------------------- controls

function segment(group, label, options, at, pick) {
  const legend = element("legend", {}, label);
  $(group).replaceChildren(legend, ...options.map((option, k) => {
    const input = element("input", { type: "radio", name: group, value: k, disabled: option.disabled, onchange: () => pick(k) });
    input.checked = k === at;
    return element("label", { class: "segment" }, input, element("span", {}, option.label));
  }));
}

function controls() {
  const variant = data.variants[state.variant];
  segment("variants", "Model", data.variants, state.variant, (k) => {
    const updates = variant.moments[state.moment].updates, key = stages()[state.stage].key;
    state.variant = k;
    state.mistake = -1;
    state.moment = Math.max(0, data.variants[k].moments.findIndex((each) => each.updates === updates));
    state.stage = Math.max(0, indexOf(key));
    chosen = null;
    everything();
  });
  const slider = element("input", { type: "range", min: 0, max: variant.moments.length - 1, step: 1, value: state.moment, "aria-label": "Updates of training",
    "aria-valuetext": `${variant.moments[state.moment].updates} updates`, disabled: variant.moments.length < 2, oninput: () => { state.moment = Number(slider.value); update(); $("moments").querySelector("input").focus(); } });
  const film = element("button", { disabled: variant.moments.length < 2, onclick: () => playFilm() }, "Play film");
  $("moments").replaceChildren(element("legend", {}, "Training"), slider, ` after ${variant.moments[state.moment].updates} updates `, film);
  const menu = element("select", { "aria-label": "Mistake", disabled: variant.key !== "model" || !data.mistakes.length, onchange: () => {
    state.mistake = Number(menu.value);
    compute();
    if (state.mistake >= 0) state.stage = stages().length - 1;
    refreshAll();
  } }, element("option", { value: -1 }, "none"), ...data.mistakes.map((each, k) => element("option", { value: k }, each.name)));
  menu.value = state.mistake;
  $("mistakes").replaceChildren(element("legend", {}, "Plant a mistake in the backward"), menu);
  $("stage").replaceChildren(...stages().map((stage, k) => element("option", { value: k }, `${k + 1}. ${stage.title}`)));
  $("steps").replaceChildren("Target word: ", ...state.target.map((_, k) => {
    const button = element("button", { "aria-pressed": String(k + 1 === state.step), onclick: () => setStep(k + 1) }, `${k + 1} ${targetWord(k + 1)}`);
    return button;
  }), words(data.targetWords, state.target, state.step - 1, "The right word at this step"));
  if (state.step === state.target.length) $("steps").lastChild.remove();
}

function losses() {
  const loss = output(shown, "loss")[0];
  $("loss").textContent = `${digits(loss)} nats a word`;
}

function refreshAll() {
  refresh();
  tell();
  decorate();
  overview();
  losses();
  if ($("weights").open) weights();
  showChosen();
}

/* Something has changed: every number follows. */
function update(all = true) {
  compute();
  if (!all) {
    refresh();
    decorate();
    losses();
    overview();
    return;
  }
  controls();
  refreshAll();
}

/* The model itself has changed: the board is built anew. */
function everything() {
  compute();
  build();
  controls();
  refreshAll();
}

function keys(event) {
  if (event.target.closest?.("select, input, summary") || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { ArrowRight: () => setStage(state.stage + 1), ArrowLeft: () => setStage(state.stage - 1),
    ArrowDown: () => setStep(state.step + 1), ArrowUp: () => setStep(state.step - 1) }[event.key];
  if (action) {
    event.preventDefault();
    action();
  } else if (event.key === " " && event.target === document.body) {
    event.preventDefault();
    play(!playing);
  }
}

async function main() {
  data = await unpack($("data").textContent.trim());
  runs = data.traces.map((trace) => {
    const replay = new Replay(trace);
    return { replay, provenance: new Provenance(replay), stages: trace.stages };
  });
  state.source = data.source.slice();
  state.target = data.target.slice();
  state.moment = Math.max(0, data.variants[0].moments.length - 2); // where there is something left to learn
  everything();
  hint();
  $("back").addEventListener("click", () => setStage(state.stage - 1));
  $("next").addEventListener("click", () => setStage(state.stage + 1));
  $("play").addEventListener("click", () => play(!playing));
  $("stage").addEventListener("change", () => setStage(Number($("stage").value)));
  $("weights").addEventListener("toggle", () => $("weights").open && weights());
  document.addEventListener("keydown", keys);
  matchMedia("(max-width: 600px)").addEventListener("change", everything);
  document.documentElement.dataset.ready = "yes";
}

main();
