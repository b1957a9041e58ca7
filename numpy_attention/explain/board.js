/* The board: one step of the decoder as blocks of numbers, the gradient's lanes, and all steps at a glance. */

let blocks = [], columns = []; // of the source: where each is, and how wide

// ---------------------------------------------------------------------------------------------- blocks

/* A block of cells: a value, and under it its gradient.

     name         of the quantity: blocks of one name have their gradients on one scale
     symbol       in the equations; about: in words
     stage, back  keys of the stages that make the value and the gradient
     at(run, which)   places of the "value" or the "gradient", or the lanes that add up to it; null if there is none
     scale        of the value's colours; 0: its own largest number */
function block(about) {
  const found = { scale: 1, ...about, cells: { value: [], gradient: [] }, strips: {} };
  const count = (found.at(shown, "value") ?? found.at(shown, "gradient")).at.length;
  const group = { class: `block${found.padded ? " padded" : ""}`, role: "group", "aria-label": found.about };
  found.element = element("div", group, found.symbol ? labelOf(found) : null);
  for (const which of ["value", "gradient"]) {
    if (!found.at(shown, which)) continue;
    found.cells[which] = Array.from({ length: count }, (_, i) => cellOf(found, which, i));
    const cells = element("div", { class: "cells", style: `--columns: ${columnsOf(count)}` }, ...found.cells[which]);
    found.strips[which] = element("div", { class: "strip" }, which === "gradient" ? "gradient" : "", cells);
    found.element.append(found.strips[which]);
    if (which === "value" && found.more) found.element.append(found.more);
  }
  blocks.push(found);
  return found.element;
}

const columnsOf = (count) => Math.min(phone() ? 2 : 8, Math.ceil(Math.sqrt(count)));

/* The symbol of a block, which leads to its stage. The menu of stages does the same from the keyboard. */
function labelOf({ symbol, about, stage, back }, ...more) {
  const title = `${about}: show the stage that explains it`;
  const onclick = () => setStage(indexOf(stage) < 0 ? indexOf(back) : indexOf(stage));
  return element("button", { class: "label", tabindex: -1, title, onclick }, equation(symbol), ...more);
}

function cellOf(found, which, i) {
  return cell({ class: found.wide ? "wide" : "", onclick: (event) => choose(found, which, i, event.detail === 0),
    onfocus: ({ target }) => {
      const name = nameIn(found, which, i).replaceAll(/[_{}]+/g, " ").trim();
      target.setAttribute("aria-label", `${name}: ${digits(Number(target.dataset.number))}`);
    } });
}

function nameIn(found, which, i) {
  const place = found.at(shown, which);
  return place.lanes ? `dL/dh_${place.t + 1}[${i}]` : nameOf(shown, one(place, i)).text;
}

/* The numbers of a block. */
function numbersIn(found, which, run = shown) {
  const place = found.at(run, which);
  return place?.lanes ? sumOfLanes(place.lanes) : numbers(run, place);
}

/* Fill in the numbers of every block. */
function refresh() {
  const most = {}, gradients = new Map(blocks.map((each) => [each, numbersIn(each, "gradient")]));
  for (const [each, list] of gradients) most[each.name] = Math.max(most[each.name] ?? 0, largest(list));
  for (const each of blocks) {
    const values = numbersIn(each, "value"), gradient = gradients.get(each);
    fill(each.cells.value, values, each.scale || largest(values));
    fill(each.cells.gradient, gradient, most[each.name]);
    const wrong = state.mistake >= 0 && unequal(gradient, numbersIn(each, "gradient", base));
    each.element.classList.toggle("wrong", wrong);
  }
}

function fill(cells, list, scale) {
  cells.forEach((cell, i) => {
    const text = few(list[i]);
    if (cell.textContent !== text) cell.textContent = text; // a text that is set anew is laid out anew
    cell.dataset.number = list[i];
    cell.style.backgroundColor = colour(list[i], scale);
  });
}

/* Show how far the walk has come: what comes later is grey, gradients appear when they are reached. */
function reveal() {
  const { key, backward } = stages()[state.stage];
  $("board").classList.toggle("forward", !backward);
  for (const each of blocks) {
    const gradient = indexOf(each.back), reached = gradient >= 0 && gradient <= state.stage;
    each.element.classList.toggle("now", key === each.stage || key === each.back);
    each.element.classList.toggle("later", indexOf(each.stage) > state.stage);
    for (const cell of each.cells.gradient) cell.style.visibility = reached ? "" : "hidden";
    each.strips.gradient?.classList.toggle("hidden", !reached);
  }
}

// ---------------------------------------------------------------------------------------------- the board

/* Build the board for the model that is shown. */
function build() {
  blocks = [];
  const style = `grid-template-columns: ${phone() ? "" : "max-content"} repeat(${state.source.length}, max-content)`;
  const source = element("div", { class: "source", style }, ...sourceRows());
  $("board").replaceChildren(source, element("div", { class: "decoder" }, ...decoderBlocks()));
  fit();
  $("board").querySelector(".cell").tabIndex = 0;
}

/* Cells as large as the window has room for, and a scale at which the board fits a printed page. */
function fit() {
  const board = $("board"), T = state.source.length, gaps = 15, names = 75;
  const most = Math.max(...["h", "keys"].map((mark) => places(shown, mark, 0, 0)?.at.length ?? 0));
  const room = ((board.clientWidth - names) / T - gaps) / columnsOf(most) - 1;
  board.style.setProperty("--cell", `${phone() ? 23 : Math.max(28, Math.min(44, Math.floor(room)))}px`);
  board.style.setProperty("--fit", Math.min(1, 980 / board.firstChild.scrollWidth));
  const left = board.firstChild.getBoundingClientRect().left;
  columns = [...document.querySelectorAll(".source > .block")].slice(0, T).map((each) => {
    const box = each.getBoundingClientRect();
    return { middle: box.left - left + box.width / 2, width: box.width };
  });
}

const attends = () => shown.trace.marks["alpha/1"] !== undefined;

/* True if keys are arrays of their own, not the encoder states. */
function hasKeys() {
  const { marks, views } = shown.trace;
  return attends() && marks.keys !== undefined && views[marks.keys].join() !== views[marks.h].join();
}

/* A row of the source: its name, and a block for each position. */
function row(name, make) {
  const last = state.source.length - 1;
  return [element("div", { class: "name" }, name), ...state.source.map((_, t) => make(t, t === last))];
}

function sourceRows() {
  const padding = () => element("span", { class: "place" }, "padding");
  const menu = (t) => words(data.sourceWords, state.source, t, `Source word ${t + 1}`);
  return [
    ...row("source", (t, padded) => (padded ? padding() : menu(t))),
    ...row("encoder state", encoderBlock),
    element("div", { id: "lanes" }),
    ...(hasKeys() ? row("key", keyBlock) : []),
    ...(attends() ? row("score e", (t, padded) => positionBlock("e", t, padded)) : []),
    ...(attends() ? row("attention weight α", (t, padded) => positionBlock("alpha", t, padded)) : []),
  ];
}

const ofPadding = (padded) => (padded ? ", padding" : "");

function encoderBlock(t, padded) {
  const at = (run, which) => {
    if (which === "value") return places(run, "h", 0, t);
    const lanes = laneNumbers(run, t);
    return { lanes, t, at: lanes.context };
  };
  const about = `Encoder state ${t + 1}${ofPadding(padded)}`;
  return block({ name: "h", symbol: `h_${t + 1}`, about, stage: "h", back: "dh", padded, at });
}

function keyBlock(t, padded) {
  const at = (run, which) => places(run, which === "value" ? "keys" : "dkeys", 0, t);
  const about = `Key ${t + 1}${ofPadding(padded)}`;
  return block({ name: "keys", symbol: `key_${t + 1}`, about, stage: "keys", back: "dh", padded, scale: 0, at });
}

/* The score or the weight of a source position: one number. */
function positionBlock(name, t, padded) {
  const at = (run, which) => {
    const all = places(run, `${which === "value" ? name : PAIRS[name]}/${state.step}`, 0);
    return { buffer: all.buffer, at: all.at.slice(t, t + 1) };
  };
  const about = `${name === "e" ? "Score" : "Attention weight"} of position ${t + 1}${ofPadding(padded)}`;
  const scale = name === "e" ? 0 : 1;
  const more = name === "e" ? null : element("div", { class: "bars", "data-bar": t }, element("div"));
  return block({ name, about, stage: name, back: PAIRS[name], padded, scale, wide: true, at, more });
}

function decoderBlocks() {
  const ofStep = (name, step = () => state.step) => (run, which) =>
    places(run, `${which === "value" ? name : PAIRS[name]}/${step()}`, 0);
  const v = (run, which) =>
    placesOf(run, which === "value" ? run.trace.inputs["alignment.v"] : run.trace.outputs["dalignment.v"]);
  const cell = data.cell === "lstm" ? ", [h ; c]" : "", { marks, inputs } = shown.trace;
  const before = { symbol: "s_{u-1}", about: `Decoder state before the step${cell}`, stage: "s_0", back: "ds_before" };
  return [
    block({ name: "s", ...before, at: ofStep("s", () => state.step - 1) }),
    marks["query/1"] === undefined ? "" : block({ name: "query", symbol: "query_u", about: "Query", stage: "query",
      back: "dquery", scale: 0, at: ofStep("query") }),
    inputs["alignment.v"] === undefined ? "" : block({ name: "v", symbol: "v", about: "Parameter v of the alignment",
      stage: "e", back: "de", scale: 0, at: v }),
    attends() ? block({ name: "c", symbol: "c_u", about: "Context", stage: "c", back: "dc", at: ofStep("c") }) : "",
    block({ name: "s", symbol: "s_u", about: `Decoder state${cell}`, stage: "s", back: "ds", at: ofStep("s") }),
    logits(),
  ];
}

/* A menu of words; token ids are kept in `list`. */
function words(vocabulary, list, at, label, id) {
  const menu = element("select", { id, "aria-label": label });
  vocabulary.forEach((word, token) => {
    if (token > 2) menu.append(element("option", { value: token }, word)); // no padding, begin or end
  });
  menu.value = list[at];
  menu.addEventListener("change", () => {
    list[at] = Number(menu.value);
    update();
  });
  return menu;
}

const WORDS_SHOWN = 40;

/* Logits, probabilities, and the gradient of the logits, a word a line. */
function logits() {
  const count = data.targetWords.length - 1; // without padding
  const at = (run, which) => {
    const { buffer, at } = places(run, which === "value" ? "logits" : "dlogits", state.step - 1, 0);
    return { buffer, at: at.slice(1, 1 + WORDS_SHOWN) };
  };
  const found = { name: "logits", symbol: "logits_u", about: "Logits, probabilities and gradient of the logits",
    stage: "logits", back: "dlogits", at, scale: 0, wide: true, cells: {}, strips: {} };
  const shownWords = data.targetWords.slice(1, 1 + WORDS_SHOWN);
  for (const which of ["value", "gradient"]) found.cells[which] = shownWords.map((_, i) => cellOf(found, which, i));
  const lines = shownWords.flatMap((word, i) => [
    element("span", { "data-word": i + 1, title: word }, short(word, 14)), found.cells.value[i],
    element("div", { class: "chances" }, element("div", { class: "chance", "data-chance": i + 1 })),
    found.cells.gradient[i]]);
  found.element = element("div", { class: "block", role: "group", "aria-label": found.about },
    labelOf(found, element("small", {}, "  probability  gradient")), element("div", { class: "logit" }, ...lines));
  if (count > WORDS_SHOWN) {
    found.element.append(element("p", { class: "place" }, `the first ${WORDS_SHOWN} of ${count} words`));
  }
  blocks.push(found);
  return found.element;
}

/* What is no block of cells: bars of weights and probabilities, the right word, the lanes. */
function decorate() {
  const alpha = numbers(shown, places(shown, `alpha/${state.step}`, 0));
  const p = numbers(shown, places(shown, "p", state.step - 1));
  const set = (name, change) => document.querySelectorAll(`[data-${name}]`).forEach((found) =>
    change(found, Number(found.dataset[name])));
  set("bar", (bar, t) => { bar.firstChild.style.height = `${100 * alpha[t]}%`; });
  set("chance", (bar, token) => {
    bar.style.width = `${100 * p[token]}%`;
    bar.parentElement.title = `probability ${digits(p[token])}`;
  });
  set("word", (word, token) => word.classList.toggle("right", token === state.target[state.step - 1]));
  drawLanes();
}

// ---------------------------------------------------------------------------------------------- lanes

/* Gradients that arrive at each encoder state: an arrow a lane, as wide as its share. */
function drawLanes() {
  const host = $("lanes");
  if (indexOf("dh") > state.stage) {
    host.replaceChildren(element("span", { class: "place" },
      "At the end of the walk, the gradients that arrive at each encoder state appear here."));
    return;
  }
  const drawing = svg("svg", { width: "100%", height: 96, role: "img",
    "aria-label": "Gradient that arrives at each encoder state, by path" });
  const all = state.source.map((_, t) => laneNorms(shown, t)), most = Math.max(...all.map(total), 1e-300);
  drawing.append(...legend());
  all.forEach((norms, t) => {
    const { middle, width } = columns[t];
    if (t === all.length - 1) {
      drawing.append(svg("text", { x: middle, y: 78, "text-anchor": "middle", class: "quiet" }, "nothing"));
    } else drawing.append(...arrows(norms, t, middle, Math.min(100, width - 16), total(norms) / most));
  });
  host.replaceChildren(drawing);
}

function legend() {
  let x = 0;
  return LANES.filter((lane) => hasLane(shown, lane)).flatMap((lane) => {
    const from = x;
    x += 34 + 6.2 * lane.length;
    return [svg("rect", { x: from, y: 4, width: 10, height: 10, fill: `var(--${lane})` }),
      svg("text", { x: from + 14, y: 13 }, lane)];
  });
}

/* The lanes at h_t side by side: widths are shares, the height tells how much arrives. */
function arrows(norms, t, middle, width, size) {
  const sum = total(norms) || 1, top = 66 - 34 * size;
  let x = middle - width / 2;
  const found = norms.map((each, k) => {
    const path = svg("path", { d: `M${x} 78 V${top} H${x + width * each / sum} V78 Z`, fill: `var(--${LANES[k]})` });
    const share = `${(100 * each / sum).toFixed(1)} %`;
    path.append(svg("title", {}, `${LANES[k]}: ${share} of what arrives at h_${t + 1}, norm ${digits(each)}`));
    x += width * each / sum;
    return path;
  });
  const best = norms.indexOf(Math.max(...norms)), share = `${(100 * norms[best] / sum).toFixed(0)} %`;
  const tip = `M${middle - 5} ${top - 3} L${middle} ${top - 9} L${middle + 5} ${top - 3}`;
  return [...found, svg("path", { d: tip, fill: "none", stroke: "var(--quiet)" }),
    svg("text", { x: middle, y: 92, "text-anchor": "middle" }, phone() ? share : `${share} ${LANES[best]}`)];
}

// ---------------------------------------------------------------------------------------------- all steps at a glance

function overview() {
  const figures = attends() ? [attentionMap()] : [];
  figures.push(laneFigure(shown, data.variants[state.variant].label));
  if (vanilla) figures.push(laneFigure(vanilla, "trained without attention"));
  $("overview").replaceChildren(...figures);
}

function attentionMap() {
  const height = Math.max(13, Math.min(20, Math.floor(180 / state.target.length)));
  const letters = state.source.length > 12 ? 3 : 7;
  const head = state.source.map((_, t) => element("th", { scope: "col", title: sourceWord(t) },
    short(sourceWord(t), letters)));
  const table = element("table", { class: "map", style: `--row: ${height}px` },
    element("tr", {}, element("td"), ...head));
  state.target.forEach((_, k) => {
    const word = targetWord(k + 1), alpha = numbers(shown, places(shown, `alpha/${k + 1}`, 0));
    const cells = alpha.map((x, t) => element("td", {}, element("button", { tabindex: -1,
      style: `background: rgba(var(--positive), ${x.toFixed(3)})`, title: `α = ${digits(x)}`,
      "aria-label": `weight of ${sourceWord(t)} for ${word}: ${digits(x)}`, onclick: () => setStep(k + 1) })));
    table.append(element("tr", { class: k + 1 === state.step ? "now" : "" },
      element("th", { scope: "row", title: word }, short(word, 10)), ...cells));
  });
  return figure("Attention", "source across, target down", table);
}

/* The gradient that arrives at each source word, by path. */
function laneFigure(run, label) {
  const T = state.source.length - 1, all = Array.from({ length: T }, (_, t) => laneNorms(run, t));
  const most = Math.max(...all.map(total), 1e-300), width = Math.max(22, Math.min(40, 260 / T)), height = 90;
  const drawing = svg("svg", { width: T * width + 8, height: height + 18, role: "img",
    "aria-label": `Size of the gradient at each source word, ${label}` });
  all.forEach((lanes, t) => {
    let y = height;
    lanes.forEach((size, k) => {
      const tall = (height - 6) * size / most;
      y -= tall;
      const bar = svg("rect", { x: 4 + t * width, y, width: width - 4, height: tall, fill: `var(--${LANES[k]})` });
      bar.append(svg("title", {}, `${LANES[k]} at ${sourceWord(t)}: ${digits(size)}`));
      drawing.append(bar);
    });
    drawing.append(svg("text", { x: 2 + (t + 0.5) * width, y: height + 14, "text-anchor": "middle" },
      short(sourceWord(t), Math.floor(width / 7.5))));
  });
  const told = `Norm at the first word ${digits(total(all[0]))}, highest bar ${digits(most)}`;
  return figure("Gradient at each source word", `${label}, loss ${digits(lossOf(run))}`, drawing,
    element("div", { class: "place" }, told));
}

function figure(name, caption, ...content) {
  return element("figure", {}, element("figcaption", {}, element("b", {}, name), `: ${caption}`), ...content);
}
