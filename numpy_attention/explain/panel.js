/* The panel: where a number comes from. */

let chosen = null; // the cell whose number the panel shows: {found, which, i}

// ---------------------------------------------------------------------------------------------- names

/* Names of the entries of marked arrays: u is the step, `last` the last index, `at` the others. */
const position = (symbol, axis = 1) => (u, at, last) => `${symbol}_${at[axis] + 1}[${last}]`;
const path = (lane, axis) => (u, at, last) => `dL/dh_${at[axis] + 1}[${last}] by ${lane}`;
const score = (symbol) => (u, at, last) => `${symbol}_{${u},${last + 1}}`;
const word = (symbol) => (u, at, last) => `${symbol}_${at[0] + 1}[${data.targetWords[last]}]`;
const NAMES = {
  x: (u, at, last) => `(x_${at[0] + 1} W + b)[${last}]`,
  y: (u, at, last) => `(y_${u - 1} W + b)[${last}]`,
  z: (u, at, last) => `z_{${u},${at[1] + 1}}[${last}]`,
  da: (u, at, last) => `dL/d(sum)_${u}[${last}]`,
  states: (u, at, last) => `h_${at[0]}[${last}]`,
  h: position("h"), keys: position("key"),
  dh_context: path("context", 1), dh_key: path("key", 1), through: path("recurrence", 2),
  e: score("e"), alpha: score("alpha"),
  logits: word("logits"), p: word("softmax"),
};

/* The indices of an entry of a view. */
function indexIn(trace, view, entry) {
  const index = [];
  for (const size of [...trace.views[view][2]].reverse()) {
    index.unshift(entry % size);
    entry = Math.floor(entry / size);
  }
  return index;
}

/* The name of a number that a call made. An array that is changed in place holds others before its own. */
function nameAt(place, value, call) {
  const name = nameOf(shown, place);
  if (Object.is(shown.memory[place.buffer][place.at], value) || call < 0) return name;
  return { text: `${shown.replay.calls[call].name}(…) for ${name.text}` };
}

/* The name of a place: a marked array, a parameter, a gradient, or a variable of a function, which is told `inside`. */
function nameOf(run, place) {
  const { trace, provenance } = run, copies = provenance.copies(place);
  const find = (views) => {
    for (const copy of copies) {
      for (const [name, view] of Object.entries(views)) {
        const entry = provenance.entry(view, copy);
        if (entry >= 0) return { name, entry, index: indexIn(trace, view, entry) };
      }
    }
    return null;
  };
  const mark = find(trace.marks);
  if (mark) return { text: markedName(mark), mark: mark.name, entry: mark.entry };
  const input = find(trace.inputs), result = input ? null : find(trace.outputs), either = input ?? result;
  if (either) {
    const name = input || either.name === "loss" ? either.name : `dL/d${either.name.slice(1)}`;
    return { text: indexed(name, either.index), input: input?.name, output: result?.name, entry: either.entry };
  }
  for (const [inside, file, , , , , given, variables] of [...trace.frames].reverse()) {
    const variable = file === HELPERS ? null : find({ ...given, ...variables });
    if (variable) return { text: indexed(variable.name, variable.index), inside };
  }
  return { text: "a number on the way" };
}

const indexed = (name, index) => (index.length ? `${name}[${index.join(",")}]` : name);

function markedName({ name, index }) {
  const [kind, u] = name.split("/"), value = VALUES[kind] ?? kind, last = index.pop();
  const text = NAMES[value]?.(u, index, last) ?? `${value}${u === undefined ? "" : `_${u}`}[${last}]`;
  return kind in VALUES ? `dL/d${text}` : text;
}

/* A name as the page shows it: variables of the code in its type. */
const shownName = (name) => (name.inside ? element("code", {}, name.text) : equation(name.text));

/* The place of a value and of its gradient, found from the name of either. */
function pairOf(run, name) {
  const at = (view) => one(placesOf(run, view), name.entry), { marks, inputs, outputs } = run.trace;
  if (name.mark) {
    const [kind, u] = name.mark.split("/"), value = VALUES[kind] ?? kind, tail = u === undefined ? "" : `/${u}`;
    const forward = marks[value + tail], back = marks[(PAIRS[value] ?? "none") + tail];
    return forward === undefined || back === undefined ? null : { value: at(forward), gradient: at(back) };
  }
  const parameter = name.input ?? name.output?.slice(1);
  if (parameter === undefined || outputs[`d${parameter}`] === undefined) return null;
  return { value: at(inputs[parameter]), gradient: at(outputs[`d${parameter}`]) };
}

// ---------------------------------------------------------------------------------------------- the panel

/* Open a cell in the panel; who came by the keyboard goes there. */
function choose(found, which, i, byKeyboard = false) {
  document.querySelectorAll(".cell.chosen").forEach((cell) => cell.classList.remove("chosen"));
  found.cells[which][i].classList.add("chosen");
  chosen = { found, which, i };
  showChosen();
  if (byKeyboard) $("panel").focus();
}

function showChosen() {
  if (!chosen) return;
  const place = chosen.found.at(shown, chosen.which);
  if (place.lanes) showLanes(place.lanes, place.t, chosen.i);
  else show(one(place, chosen.i));
}

/* Fill the panel. */
function open(...parts) {
  const inside = $("panel").contains(document.activeElement);
  $("panel").classList.remove("closed");
  const button = element("button", { class: "close", "aria-label": "Close", onclick: close }, "×");
  $("panel").replaceChildren(button, ...parts);
  if (inside) $("panel").focus();
}

function close() {
  if (chosen && $("panel").contains(document.activeElement)) chosen.found.cells[chosen.which][chosen.i].focus();
  document.querySelectorAll(".cell.chosen").forEach((cell) => cell.classList.remove("chosen"));
  chosen = null;
  hint();
}

function hint() {
  $("panel").classList.add("closed");
  $("panel").replaceChildren(
    element("h2", {}, "Click a number"),
    element("p", {}, "You see the equation with these numbers in it, the line of Python that made it, its largest "
      + "terms, the lines that read it later, and its gradient beside the complex step."),
    element("p", {}, "An index in brackets counts from 0, as in Python. A click on a name with dots under it, such as ",
      element("i", {}, "query"), " or ", element("i", {}, "v"), ", shows the stage that explains it."),
    element("p", { class: "place" }, "Keys: left and right arrow walk through the stages, up and down choose the "
      + "target word, space plays. Among the numbers, arrows move to the next one, Enter opens it, Escape closes it."));
}

/* Show one number. */
function show(place, time = shown.replay.calls.length) {
  const { provenance, replay } = shown, memory = replay.run(provenance.start(), time);
  const from = provenance.origin(place, time, memory);
  const tree = provenance.equation(place, time, memory), name = nameAt(place, tree.value, from.call);
  const parts = [element("h2", {}, shownName(name), ` = ${whole(tree.value)}`)];
  if (name.inside) parts.push(element("p", { class: "place" }, `a variable of ${name.inside}`));
  if (tree.leaf) parts.push(element("p", {}, leafText(name, from.call)));
  else {
    parts.push(element("p", { class: "formula" }, ...rendered(tree), ` = ${digits(tree.value)}`), ...termTables(tree));
  }
  if (from.call >= 0) parts.push(element("h3", {}, "Made by"), element("p", {}, codeOf(from.call)));
  open(...parts, ...derivative(name), ...readersOf(from));
}

/* What a number is that no equation makes. */
function leafText(name, call) {
  const isWeight = shown.trace.outputs[`d${name.input}`] !== undefined;
  if (name.input) return isWeight ? "A weight. It can be changed under “All weights”." : "An input.";
  return call < 0 ? "A constant of the run." : "Set here, not computed.";
}

/* The gradient of a number, beside the complex step. */
function derivative(name) {
  const pair = pairOf(shown, name);
  if (!pair) return [];
  const gradient = shown.memory[pair.gradient.buffer][pair.gradient.at];
  return [element("h3", {}, "Its gradient"), compared(gradient, shown.provenance.complexStep(pair.value))];
}

function compared(gradient, step) {
  const apart = Math.abs(gradient - step), scale = Math.max(Math.abs(gradient), Math.abs(step), 1e-3);
  const same = apart <= 1e-12 * scale;
  const line = (text, number) => element("tr", {}, element("td", {}, text), element("td", {}, number));
  return element("div", {},
    element("table", {}, line("backward pass", whole(gradient)), line("complex step", whole(step)),
      line("difference", apart ? apart.toExponential(1) : "0")),
    same ? element("p", {}, "The same up to rounding.") : element("p", { class: "wrong-text" }, "They differ."));
}

/* The lines that read a number after it was made. */
function readersOf(from) {
  const readers = shown.provenance.readers(from, from.call + 1);
  const list = (title, found) => (found.length ? [element("h3", {}, title), ...found.slice(0, 5).map(lineText)] : []);
  const backward = ({ number }) => number >= shown.trace.forward;
  return [...list("Read in the forward pass by", readers.filter((each) => !backward(each))),
    ...list("Read in the backward pass by", readers.filter(backward))];
}

const lineText = ({ line }) => element("p", {}, element("span", { class: "place" }, `${line.file}:${line.line}  `),
  element("code", {}, line.text));

/* The line of Python of a call: the equation's own, not that of a helper under it. */
function codeOf(call) {
  const where = shown.provenance.where(call), line = shown.provenance.line(call);
  const found = element("span", {}, element("span", { class: "place" }, `${line.file}:${line.line}  `),
    element("code", {}, line.text));
  const caller = where[where.findIndex((each) => each.frame === line.frame) + 1];
  if (!caller) return found;
  found.append(element("span", { class: "place" }, ` called by ${caller.name}, ${caller.file}:${caller.line}`));
  return found;
}

/* Show dL/dh_t: four lanes add up to it. */
function showLanes(lanes, t, i) {
  const value = sumOfLanes(lanes)[i], { context, key, recurrence } = lanesAt(shown, t);
  const part = recurrence.find((each) => i >= each.from && i < each.from + each.at.length);
  const at = { context: context && one(context, i), key: key && one(key, i),
    [part.bridge ? "bridge" : "recurrent"]: one(part, i - part.from) };
  const line = (lane) => element("tr", {}, element("td", {}, at[lane] ? link(lane, at[lane]) : lane),
    element("td", {}, digits(lanes[lane][i])));
  const padded = t === state.source.length - 1;
  open(element("h2", {}, equation(`dL/dh_${t + 1}[${i}]`), ` = ${whole(value)}`),
    element("p", {}, "The sum of what arrives by each path. Click one to see its terms."),
    element("table", {}, ...LANES.map(line)),
    element("h3", {}, "Beside the complex step"),
    padded ? element("p", {}, "A padded position: nothing reads this state, so nothing arrives.")
      : compared(value, shown.provenance.complexStep(one(places(base, "h", 0, t), i), true)));
}

const link = (text, place, time, title) =>
  element("button", { class: "link", title, onclick: () => show(place, time) }, text);

// ---------------------------------------------------------------------------------------------- equations with numbers

/* An equation with its numbers; `inside` tells how strongly its surroundings bind. */
function rendered(node, inside = 0) {
  if (node.leaf) return inside > 1 && node.value < 0 ? ["(", leafOf(node), ")"] : [leafOf(node)];
  const part = (k, level) => rendered(node.parts[k], level);
  const grouped = (level, list) => (inside > level ? ["(", ...list, ")"] : list);
  switch (node.op) {
    case "add": return grouped(1, [...part(0, 1), " + ", ...part(1, 2)]);
    case "subtract": return grouped(1, [...part(0, 1), " − ", ...part(1, 2)]);
    case "multiply": return grouped(2, [...part(0, 2), " × ", ...part(1, 2)]);
    case "divide": return grouped(2, [...part(0, 2), " / ", ...part(1, 3)]);
    case "negative": return grouped(2, ["−", ...part(0, 3)]);
    case "square": return [...part(0, 4), element("sup", {}, "2")];
    case "sum": return [`Σ(${node.terms.length} terms: ${digits(node.value)})`];
    case "max": return [`max(${digits(node.value)})`];
    case "log1p": return ["log(1 + ", ...part(0, 0), ")"];
    default: return [`${node.op}(`, ...part(0, 0), ")"];
  }
}

function leafOf(node) {
  if (node.number) return digits(node.value);
  const name = nameAt(node.place, node.value, node.call);
  return link(digits(node.value), node.place, node.time, `${name.text} = ${whole(node.value)}`);
}

const TERMS = 6;

/* The largest terms of the sums in an equation. */
function termTables(tree) {
  const sums = [];
  const visit = (node) => {
    if (node.op === "sum") sums.push(node);
    (node.parts ?? []).forEach(visit);
  };
  visit(tree);
  return sums.slice(0, 3).map(termTable);
}

function termTable(sum) {
  const product = (factors) => factors.reduce((found, factor) => found * factor.value, 1);
  const terms = sum.terms.map((factors) => ({ factors, value: product(factors) }));
  terms.sort((term, other) => Math.abs(other.value) - Math.abs(term.value));
  const line = (value, kind, ...parts) => element("tr", { class: kind }, element("td", {}, ...parts),
    element("td", {}, digits(value)));
  const lines = terms.slice(0, TERMS).map(({ factors, value }) =>
    line(value, "", ...factors.flatMap((factor, k) => [k ? " × " : "", named(factor)])));
  if (terms.length > TERMS) {
    const rest = terms.slice(TERMS);
    lines.push(line(total(rest.map((each) => each.value)), "place", `${rest.length} more`));
  }
  return element("div", {}, element("h3", {}, `The sum ${digits(sum.value)}, largest terms first`),
    element("table", {}, ...lines));
}

function named(node) {
  if (node.number) return digits(node.value);
  const name = nameAt(node.place, node.value, node.call);
  const title = `${whole(node.value)}${name.inside ? `, in ${name.inside}` : ""}`;
  return link(shownName(name), node.place, node.time, title);
}
