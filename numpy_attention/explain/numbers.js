/* What the page knows: the recorded runs, what the reader has chosen, and where the numbers of each quantity lie. */

const BOS = 1;
const PAIRS = { e: "de", alpha: "dalpha", c: "dc", s: "ds", query: "dquery", keys: "dkeys", logits: "dlogits" };
const VALUES = Object.fromEntries(Object.entries(PAIRS).map(([value, gradient]) => [gradient, value]));
const LANES = ["context", "key", "bridge", "recurrent"];

const state = { variant: 0, moment: 0, mistake: -1, step: 1, stage: 0, source: [], target: [], edits: {}, weight: "" };
let data, runs; // what the page was written with
let base, shown, vanilla; // replayed: the model, the same with the planted mistake, and the model without attention

// ---------------------------------------------------------------------------------------------- what goes in

async function unpack(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const momentsOf = (variant) => data.moments[data.variants[variant].moments];

function parametersOf(variant, moment) {
  const found = momentsOf(variant)[moment];
  found.numbers ??= Object.fromEntries(Object.entries(found.params).map(([name, text]) => {
    const { buffer } = bytesOf(text);
    return [name, Float64Array.from(found.bits === 32 ? new Float32Array(buffer) : new Float64Array(buffer))];
  }));
  return found.numbers;
}

/* Everything that goes in: parameters, with the reader's changes, and tokens. */
function inputsOf(variant, moment, edits = state.edits) {
  const found = { ...parametersOf(variant, moment) };
  for (const [name, changes] of Object.entries(edits)) {
    if (!(name in found)) continue;
    found[name] = found[name].slice();
    for (const [entry, value] of Object.entries(changes)) found[name][entry] = value;
  }
  found.source = state.source;
  found.target_output = state.target;
  found.target_input = [BOS, ...state.target.slice(0, -1)];
  return found;
}

const sourceWord = (t) => (t === state.source.length - 1 ? "pad" : data.sourceWords[state.source[t]]);
const targetWord = (u) => data.targetWords[state.target[u - 1]];

// ---------------------------------------------------------------------------------------------- replaying

function replayed(trace, inputs) {
  const { replay, provenance } = runs[trace];
  provenance.inputs = inputs;
  return { replay, provenance, trace: replay.trace, memory: replay.run(replay.memory(inputs)) };
}

/* Replay what the page shows. */
function compute() {
  const variant = data.variants[state.variant], inputs = inputsOf(state.variant, state.moment);
  base = replayed(variant.trace, inputs);
  shown = state.mistake < 0 ? base : replayed(data.mistakes[state.mistake].trace, inputs);
  vanilla = variant.key === "vanilla" ? null : replayedVanilla(momentsOf(state.variant)[state.moment].updates);
}

/* The model that was trained without attention, after as many updates; null if the page has none. */
function replayedVanilla(updates) {
  const other = data.variants.findIndex((each) => each.key === "vanilla");
  const moment = other < 0 ? -1 : momentsOf(other).findIndex((each) => each.updates === updates);
  return moment < 0 ? null : replayed(data.variants[other].trace, inputsOf(other, moment, {}));
}

// ---------------------------------------------------------------------------------------------- where numbers lie

/* Places of a marked array, its first axes fixed: {buffer, at}; null if the run has no such array. */
function places(run, mark, ...index) {
  const view = run.trace.marks[mark];
  if (view === undefined) return null;
  const [buffer, offset, shape, strides] = run.trace.views[view];
  const start = index.reduce((sum, one, axis) => sum + one * strides[axis], offset);
  return { buffer, at: stretch(start, shape.slice(index.length), strides.slice(index.length)) };
}

/* Places of all numbers of a view. */
const placesOf = (run, view) => ({ buffer: run.trace.views[view][0], at: run.replay.positions(view) });

/* One of several places. */
const one = (found, i) => ({ buffer: found.buffer, at: found.at[i] });

const numbers = (run, found) => (found ? Array.from(found.at, (at) => run.memory[found.buffer][at]) : []);
const output = (run, name) => run.replay.read(run.memory, run.trace.outputs[name]);
const lossOf = (run) => output(run, "loss")[0];
const norm = (list) => Math.hypot(...list);
const total = (list) => list.reduce((sum, x) => sum + x, 0);
const largest = (list) => list.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/* True if two lists of numbers differ by more than rounding. */
function unequal(list, other) {
  const scale = largest(other) || 1e-300;
  return list.some((x, i) => !(Math.abs(x - other[i]) <= 1e-9 * scale));
}

/* Ways by which a gradient reaches h_t: places of each lane; the recurrence's is the bridge where a direction ends. */
function lanesAt(run, t) {
  const last = state.source.length - 2, through = places(run, "through", 0, 0, t);
  const half = data.bidirectional ? through.at.length / 2 : through.at.length;
  const part = (from, to, end) => ({ buffer: through.buffer, at: through.at.slice(from, to), from, bridge: end });
  const recurrence = [part(0, half, t === last)];
  if (data.bidirectional) recurrence.push(part(half, 2 * half, t === 0));
  return { context: places(run, "dh_context", 0, t), key: places(run, "dh_key", 0, t), recurrence };
}

/* The numbers of each lane at h_t, all of the same length, zero where a lane does not exist. */
function laneNumbers(run, t) {
  const lanes = lanesAt(run, t), size = total(lanes.recurrence.map((part) => part.at.length));
  const found = Object.fromEntries(LANES.map((lane) => [lane, new Array(size).fill(0)]));
  for (const lane of ["context", "key"]) if (lanes[lane]) found[lane] = numbers(run, lanes[lane]);
  for (const part of lanes.recurrence) {
    const lane = found[part.bridge ? "bridge" : "recurrent"];
    numbers(run, part).forEach((x, i) => { lane[part.from + i] = x; });
  }
  return found;
}

const sumOfLanes = (lanes) => lanes.context.map((_, i) => total(LANES.map((lane) => lanes[lane][i])));
const laneNorms = (run, t) => LANES.map((lane) => norm(laneNumbers(run, t)[lane]));
const hasLane = (run, lane) => run.trace.marks.dh_context !== undefined || lane === "bridge" || lane === "recurrent";

// ---------------------------------------------------------------------------------------------- as text

/* A number in few letters: .42, −1.3, 2e-5. */
function few(x) {
  const size = Math.abs(x);
  if (Number.isNaN(x)) return "nan";
  if (size === Infinity) return x < 0 ? "−∞" : "∞";
  let text = "0";
  if (size >= 100) text = size.toFixed(0);
  else if (size >= 10) text = size.toFixed(1);
  else if (size >= 0.995) text = size.toFixed(2).slice(0, 3);
  else if (size >= 0.005) text = size.toFixed(2).slice(1);
  else if (size > 0) text = size.toExponential(0);
  return (x < 0 ? "−" : "") + text;
}

const minus = (text) => text.replace(/^-/, "−");
const digits = (x) => minus(String(Number(x.toPrecision(5))));
const whole = (x) => minus(String(x));

/* A word in at most so many letters. */
function short(word, most) {
  const letters = Array.from(word);
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : word;
}

// ---------------------------------------------------------------------------------------------- elements

const $ = (id) => document.getElementById(id);
const phone = () => matchMedia("(max-width: 600px)").matches;

function element(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children.filter((child) => child != null));
  return found;
}

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes, text) {
  const found = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

/* The plain text of an equation, x_{u,t} and U^T, with sub- and superscripts. */
function equation(text) {
  const found = element("span", { class: "equation" });
  const greek = text.replaceAll("alpha", "α").replaceAll("dL/d", "∂L/∂").replace(/\bsum_/g, "Σ_")
    .replaceAll(" . ", " · ");
  for (const [, plain, braced, up, letter] of greek.matchAll(/([^_^]+)|_\{([^}]*)\}|\^(\w)|_(\w+)/g)) {
    found.append(plain ?? element(up ? "sup" : "sub", {}, up ?? braced ?? letter));
  }
  return found;
}

/* The same in a sentence, in the page's own type. */
function prose(text) {
  const found = equation(text);
  found.className = "";
  return found;
}

const hues = {}; // of the scheme, light or dark: a browser restyles hundreds of cells faster without variables

function readHues() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["positive", "negative"]) hues[name] = style.getPropertyValue(`--${name}`);
}

function colour(x, scale) {
  if (!(Math.abs(x) > 0) || !scale) return "";
  const share = 0.06 + 0.54 * Math.min(1, Math.abs(x) / scale);
  return `rgba(${hues[x > 0 ? "positive" : "negative"]}, ${share.toFixed(3)})`;
}

/* Build elements anew, and give the focus back to the one that had it. */
function keepingFocus(build) {
  const id = document.activeElement?.id;
  build();
  if (id && document.activeElement?.id !== id) $(id)?.focus();
}

/* Tell those who listen to the page what has changed. */
function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

/* A number that can be clicked. Hundreds change at once, and a browser restyles a div ten times as fast as a button. */
function cell(attributes, text = "") {
  return element("div", { role: "button", tabindex: -1, ...attributes, class: `cell ${attributes.class ?? ""}` }, text);
}

const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

/* Arrow keys move from a number to the next one in their direction, Enter clicks it. Tab comes back to the one that had
   the focus. */
function rove(host) {
  host.addEventListener("focusin", ({ target }) => {
    if (!target.matches(".cell")) return;
    host.querySelectorAll('.cell[tabindex="0"]').forEach((cell) => { cell.tabIndex = -1; });
    target.tabIndex = 0;
  });
  host.addEventListener("keydown", (event) => {
    const clicks = event.key === "Enter" || event.key === " ";
    if (!event.target.matches(".cell") || !(event.key in ARROWS || clicks)) return;
    event.preventDefault();
    event.stopPropagation();
    if (clicks) event.target.click();
    else nearest(host, event.target, ...ARROWS[event.key])?.focus();
  });
}

function nearest(host, from, right, down) {
  const middle = (box) => [box.left + box.width / 2, box.top + box.height / 2];
  const [x, y] = middle(from.getBoundingClientRect());
  let best = null, least = Infinity;
  for (const cell of host.querySelectorAll(".cell")) {
    const box = cell.getBoundingClientRect(), [a, b] = middle(box);
    const ahead = (a - x) * right + (b - y) * down, beside = Math.abs((a - x) * down) + Math.abs((b - y) * right);
    const far = ahead + 4 * beside;
    if (ahead > 1 && far < least && box.width && cell.style.visibility !== "hidden") [best, least] = [cell, far];
  }
  return best;
}
