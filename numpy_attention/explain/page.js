/* The walk through the stages, the controls, and the start of the page. */

let playing = null, filming = null; // timers

// ---------------------------------------------------------------------------------------------- the walk

const stages = () => runs[data.variants[state.variant].trace].stages;
const indexOf = (key) => stages().findIndex((stage) => stage.key === key);

/* The call that makes what a stage is about: the last one that writes its array; null if there is none. */
function callOf(key) {
  const marks = { h: "h", s_0: "s/0", keys: "keys", logits: "logits", dlogits: "dlogits",
    ds_before: `ds/${state.step - 1}`, dh: attends() ? "dh_context" : "through" };
  const place = key === "loss" ? placesOf(shown, shown.trace.outputs.loss)
    : places(shown, marks[key] ?? `${key}/${state.step}`);
  const call = place ? shown.provenance.origin(one(place, 0), shown.replay.calls.length, shown.memory).call : -1;
  return call < 0 ? null : call;
}

function tell() {
  const stage = stages()[state.stage], call = callOf(stage.key), title = `${state.stage + 1}. ${stage.title}`;
  $("told").replaceChildren(
    element("p", {}, element("b", {}, title), " \u2003", equation(stage.equation)),
    element("p", {}, prose(stage.about)),
    element("p", { class: "place" }, call === null ? "" : codeOf(call)));
  $("stage").value = state.stage;
  $("back").setAttribute("aria-disabled", state.stage === 0);
  $("next").setAttribute("aria-disabled", state.stage === stages().length - 1);
  reveal();
}

function setStage(stage) {
  state.stage = Math.max(0, Math.min(stages().length - 1, stage));
  tell();
  drawLanes();
  say(`Stage ${state.stage + 1} of ${stages().length}: ${stages()[state.stage].title}`);
}

function setStep(step) {
  state.step = Math.max(1, Math.min(state.target.length, step));
  controls();
  redraw();
  say(`Target word ${state.step}: ${targetWord(state.step)}`);
}

function play(on) {
  clearInterval(playing);
  const next = () => (state.stage < stages().length - 1 ? setStage(state.stage + 1) : play(false));
  playing = on ? setInterval(next, 2200) : null;
  if (on && state.stage === stages().length - 1) setStage(0);
  $("play").textContent = on ? "Pause" : "Play";
}

/* Training as a film: every moment, two seconds each. */
function film(on) {
  clearInterval(filming);
  const last = momentsOf(state.variant).length - 1;
  if (on) state.moment = 0;
  filming = !on ? null : setInterval(() => {
    state.moment += 1;
    if (state.moment === last) film(false);
    else update();
  }, 2000);
  update();
}

// ---------------------------------------------------------------------------------------------- controls

function controls() {
  keepingFocus(() => {
    chooseModel();
    chooseMoment();
    chooseMistake();
    chooseStep();
    const titles = stages().map(({ title }, k) => `${k + 1}. ${title}`);
    $("stage").replaceChildren(...titles.map((title, k) => element("option", { value: k }, title)));
    $("stage").value = state.stage;
  });
}

/* Fill a fieldset. */
function fieldset(id, legend, ...parts) {
  $(id).replaceChildren(element("legend", {}, legend), ...parts);
}

function chooseModel() {
  const choices = data.variants.map(({ label }, k) => {
    const input = element("input", { type: "radio", name: "variant", id: `variant-${k}` });
    input.addEventListener("change", () => setVariant(k));
    input.checked = k === state.variant;
    return element("label", { class: "segment" }, input, element("span", {}, label));
  });
  fieldset("variants", "Model", ...choices);
}

function setVariant(k) {
  const { updates } = momentsOf(state.variant)[state.moment], key = stages()[state.stage].key;
  if (data.variants[k].moments !== data.variants[state.variant].moments) state.edits = {}; // of other parameters
  Object.assign(state, { variant: k, mistake: -1 });
  state.moment = Math.max(0, momentsOf(k).findIndex((each) => each.updates === updates));
  state.stage = Math.max(0, indexOf(key));
  close();
  everything();
}

function chooseMoment() {
  const moments = momentsOf(state.variant), { updates } = moments[state.moment];
  const text = `after ${updates.toLocaleString("en")} updates`;
  if (moments.length < 2) return fieldset("moments", "Training", text);
  const slider = element("input", { type: "range", id: "moment", min: 0, max: moments.length - 1, step: 1,
    "aria-label": "Updates of training", "aria-valuetext": text, oninput: () => {
      state.moment = Number(slider.value);
      update();
    } });
  slider.value = state.moment;
  const button = element("button", { id: "film", onclick: () => film(!filming) }, filming ? "Stop film" : "Play film");
  fieldset("moments", "Training", slider, ` ${text} `, button);
}

function chooseMistake() {
  const only = data.variants[state.variant].key !== "model";
  const menu = element("select", { id: "mistake", "aria-label": "Mistake", disabled: only || !data.mistakes.length },
    ...["none", ...data.mistakes.map(({ name }) => name)].map((name, k) => element("option", { value: k - 1 }, name)));
  menu.value = state.mistake;
  menu.addEventListener("change", () => {
    state.mistake = Number(menu.value);
    if (state.mistake >= 0) state.stage = stages().length - 1; // all gradients
    update();
  });
  fieldset("mistakes", "Plant a mistake in the backward pass", menu);
}

function chooseStep() {
  const buttons = state.target.map((_, k) => {
    const name = targetWord(k + 1);
    return element("button", { id: `step-${k + 1}`, "aria-pressed": String(k + 1 === state.step), title: name,
      "aria-label": `${k + 1} ${name}`, onclick: () => setStep(k + 1) }, `${k + 1} ${short(name, 8)}`);
  });
  const last = state.step === state.target.length; // the end of the sequence stays where it is
  const menu = last ? [] : [" should be ", words(data.targetWords, state.target, state.step - 1,
    `What target word ${state.step} should be`, "right")];
  $("steps").replaceChildren("Target word: ", ...buttons, ...menu);
}

/* What a planted mistake does, and what the checker says of it. */
function verdict() {
  if (state.mistake < 0) return $("verdict").replaceChildren();
  const { name, said } = data.mistakes[state.mistake];
  const wrong = Object.keys(shown.trace.outputs).filter((each) => unequal(output(shown, each), output(base, each)));
  const text = wrong.length ? `Wrong now: the gradients in red frames, and those of ${listed(wrong)}.`
    : "For this sentence it changes no gradient of a weight.";
  $("verdict").replaceChildren(
    element("p", { class: "wrong-text" }, `Planted: ${name}. ${text}`),
    element("p", {}, `The loss is still right, so only a gradient check finds the mistake. ${said}`));
  say(`Planted: ${name}. ${wrong.length} weights have wrong gradients.`);
}

const listed = (outputs) => outputs.map((name) => name.slice(1)).join(", ");

// ---------------------------------------------------------------------------------------------- all follows

/* The numbers that change while a weight is dragged. */
function follow() {
  compute();
  numbersOnly();
}

function numbersOnly() {
  refresh();
  decorate();
  overview();
  $("loss").textContent = `${digits(lossOf(shown))} nats a word`;
}

function redraw() {
  numbersOnly();
  tell();
  showChosen();
  if ($("weights").open) keepingFocus(weights);
}

/* Something has changed: every number follows. */
function update() {
  compute();
  controls();
  redraw();
  say(`After ${momentsOf(state.variant)[state.moment].updates} updates, loss ${digits(lossOf(shown))}`);
  verdict();
}

/* The model or the width has changed: the board is built anew. */
function everything() {
  const at = chosen ? blocks.indexOf(chosen.found) : -1;
  compute();
  build();
  if (at >= 0) choose(blocks[at], chosen.which, chosen.i);
  update();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && chosen) close();
  if (event.target.closest?.("select, input, summary, #panel")) return;
  const action = { ArrowRight: () => setStage(state.stage + 1), ArrowLeft: () => setStage(state.stage - 1),
    ArrowDown: () => setStep(state.step + 1), ArrowUp: () => setStep(state.step - 1),
    " ": event.target === document.body && (() => play(!playing)) }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/* Begin where there is something left to learn: before the last moment, if there are several. */
async function main() {
  data = await unpack($("data").textContent.trim());
  runs = data.traces.map((trace) => {
    const replay = new Replay(trace);
    return { replay, provenance: new Provenance(replay), stages: trace.stages };
  });
  state.source = data.source.slice();
  state.target = data.target.slice();
  state.moment = Math.max(0, momentsOf(0).length - 2);
  hint();
  readHues();
  everything();
  listen();
  requestAnimationFrame(() => setTimeout(() => { // the first frame is drawn, so many milliseconds after the navigation
    document.documentElement.dataset.ready = Math.round(performance.now());
  }));
}

function listen() {
  $("back").addEventListener("click", () => setStage(state.stage - 1));
  $("next").addEventListener("click", () => setStage(state.stage + 1));
  $("play").addEventListener("click", () => play(!playing));
  $("stage").addEventListener("change", () => setStage(Number($("stage").value)));
  $("weights").addEventListener("toggle", () => $("weights").open && weights());
  rove($("board"));
  rove($("weight"));
  document.addEventListener("keydown", pressed);
  matchMedia("(max-width: 600px)").addEventListener("change", everything);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readHues(); redraw(); });
  addEventListener("resize", () => { fit(); drawLanes(); });
  new ResizeObserver(([walk]) => {
    document.documentElement.style.setProperty("--walk", `${walk.target.offsetHeight}px`);
  }).observe($("walk"));
}

main();
