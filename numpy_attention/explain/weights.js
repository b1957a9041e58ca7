/* The weights, which can be changed, and their gradients. */

/* The weights of one name, and their gradients. */
function weights() {
  const { inputs, outputs, views } = shown.trace;
  const names = Object.keys(inputs).filter((name) => `d${name}` in outputs);
  if (!names.includes(state.weight)) state.weight = names.includes("alignment.v") ? "alignment.v" : names[0];
  const menu = element("select", { id: "weight-name", "aria-label": "Weight" },
    ...names.map((name) => element("option", { value: name }, name)));
  menu.value = state.weight;
  menu.addEventListener("change", () => {
    state.weight = menu.value;
    keepingFocus(weights);
  });
  const undo = element("button", { id: "undo", disabled: !Object.keys(state.edits).length, onclick: () => {
    state.edits = {};
    update();
  } }, "Undo all changes");
  const shape = views[inputs[state.weight]][2];
  const title = `${state.weight} (${shape.join(" × ")}): drag a number up or down, or press + and −`;
  const values = inputsOf(state.variant, state.moment)[state.weight], slopes = output(shown, `d${state.weight}`);
  const gradient = weightGrid("its gradient", shape, slopes, slopeCell);
  gradient.classList.add("block");
  gradient.classList.toggle("wrong", state.mistake >= 0 && unequal(slopes, output(base, `d${state.weight}`)));
  const grid = weightGrid(title, shape, values, weightCell);
  $("weight").replaceChildren(element("div", {}, menu, " ", undo), grid, gradient);
}

function weightGrid(title, shape, list, make) {
  const scale = largest(list), style = `--columns: ${shape.at(-1)}`;
  const cells = Array.from(list, (x, i) => {
    const made = make(x, i, indexed(state.weight, indexIn(shown.trace, shown.trace.inputs[state.weight], i)));
    made.style.backgroundColor = colour(x, scale);
    return made;
  });
  const grid = element("div", { class: "cells", style }, ...cells);
  return element("div", { class: "scrolling" }, element("h3", {}, title), grid);
}

function weightCell(x, i, name) {
  const changed = i in (state.edits[state.weight] ?? {});
  const made = cell({ class: changed ? "edited" : "", id: `weight-${i}`, title: whole(x), tabindex: i ? -1 : 0,
    "aria-label": `${name}: ${few(x)}` }, few(x));
  draggable(made, i, x);
  return made;
}

function slopeCell(x, i, name) {
  const place = one(placesOf(shown, shown.trace.outputs[`d${state.weight}`]), i);
  return cell({ title: whole(x), "aria-label": `gradient of ${name}: ${few(x)}`, onclick: () => show(place) }, few(x));
}

const BY_PIXEL = 0.02, BY_KEY = { "+": 0.1, "-": -0.1 };

/* Let a weight be changed with the pointer or with keys. */
function draggable(cell, entry, value) {
  const set = (next) => { (state.edits[state.weight] ??= {})[entry] = next; };
  cell.addEventListener("pointerdown", (down) => {
    let waiting = false;
    const move = (event) => {
      set(value + (down.clientY - event.clientY) * BY_PIXEL);
      cell.textContent = few(state.edits[state.weight][entry]);
      cell.classList.add("edited");
      if (!waiting) requestAnimationFrame(() => { waiting = false; follow(); });
      waiting = true;
    };
    const end = () => {
      cell.removeEventListener("pointermove", move);
      update();
    };
    cell.setPointerCapture(down.pointerId);
    cell.addEventListener("pointermove", move);
    cell.addEventListener("pointerup", end, { once: true });
    cell.addEventListener("pointercancel", end, { once: true });
  });
  cell.addEventListener("keydown", (event) => {
    if (!(event.key in BY_KEY)) return;
    set(value + BY_KEY[event.key]);
    update();
  });
}
