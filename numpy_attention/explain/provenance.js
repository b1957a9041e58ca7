/* Where a number of a replayed run comes from: the call that made it, what entered, who reads it, and its derivative
   by the complex step. A number is a place {buffer, at}, as of a time: the calls below that number have been made. */

const STEP = 1e-30;
const HELPERS = "ops/elementary.py"; // under the equations
// Functions that loop or only call others: a line of theirs is no equation.
const LOOPS = new Set(["encoder_forward", "encoder_backward", "decoder_forward", "decoder_backward", "forward",
  "backward", "loss_and_gradients", "_encode"]);
const STEPS = new Set(["decoder_step", "decoder_step_backward"]); // one line is one equation

class Provenance {
  constructor(replay) {
    this.replay = replay;
    this.trace = replay.trace;
    this.covered = new Map();
  }

  covers(view, place) {
    if (this.trace.views[view][0] !== place.buffer) return false;
    if (!this.covered.has(view)) this.covered.set(view, new Set(this.replay.positions(view)));
    return this.covered.get(view).has(place.at);
  }

  /* Entry of a view at a place, -1 if it is not there. */
  entry(view, place) {
    return this.covers(view, place) ? this.replay.positions(view).indexOf(place.at) : -1;
  }

  /* The last call before `time` that wrote a place, -1 for an input or a constant. */
  writer(place, time, memory) {
    for (let number = time - 1; number >= 0; number--) {
      const call = this.replay.calls[number];
      if (this.covers(call.out, place) && (call.name !== "put" || this.put(call, memory).has(place.at))) return number;
    }
    return -1;
  }

  put(call, memory) {
    const found = new Map();
    const buffers = call.inputs.slice(1).map((view) => memory[this.trace.views[view][0]]);
    this.replay.named(call.out, call.inputs.slice(1), buffers, (i, at) => found.set(at, i));
    return found;
  }

  /* The same number before it was copied: {buffer, at, time, call}. */
  origin(place, time, memory) {
    let found = { ...place, time };
    for (;;) {
      const number = this.writer(found, found.time, memory), call = this.replay.calls[number];
      if (number < 0 || call.name !== "copy" || call.constant[0]) return { ...found, call: number };
      found = { ...this.place(call.inputs[0], this.entry(call.out, found)), time: number };
    }
  }

  place(view, entry) {
    return { buffer: this.trace.views[view][0], at: this.replay.positions(view)[entry] };
  }

  /* File, line, function and text of a call, then those of the callers. */
  where(number) {
    const found = [];
    let { frame, line } = this.replay.calls[number];
    while (frame >= 0) {
      const [name, file, parent, from] = this.trace.frames[frame];
      found.push({ file, line, name, frame, text: this.trace.source[file][line] });
      [frame, line] = [parent, from];
    }
    return found;
  }

  /* The line of a call as the equations have it: not that of a helper under it. */
  line(number) {
    const where = this.where(number);
    return where.find((each) => each.file !== HELPERS) ?? where[0];
  }

  /* True if two calls belong to one equation. */
  together(one, other) {
    const keys = (number) => this.where(number).filter((place) => !LOOPS.has(place.name))
      .map((place) => (STEPS.has(place.name) ? `${place.frame}:${place.line}` : `${place.frame}`));
    const first = new Set(keys(one));
    return keys(other).some((key) => first.has(key));
  }

  /* The equation that made a number, as a tree. A leaf is a number that another equation made, or an input.
       {leaf, value, place, time, call}     leaf; {leaf, value, number} is a constant
       {op, parts: [...], value, call}      op is a call's name; "sum" has terms, each a list of factors */
  equation(place, time, memory, top = null, depth = 0) {
    const from = this.origin(place, time, memory), value = memory[from.buffer][from.at];
    if (from.call < 0 || depth > 6 || (top !== null && !this.together(top, from.call))) {
      return { leaf: true, value, place: { buffer: from.buffer, at: from.at }, time: from.time, call: from.call };
    }
    const call = this.replay.calls[from.call], root = top ?? from.call, entry = this.entry(call.out, from);
    const before = this.replay.run(this.start(), from.call); // what the call read: a buffer may have been written since
    const follow = (k, entry, deeper = 1) => (call.constant[k]
      ? { leaf: true, value: call.inputs[k], number: true }
      : this.equation(this.place(call.inputs[k], entry), from.call, before, root, depth + deeper));
    switch (call.name) {
      case "take": return this.equation(this.taken(call, entry, before), from.call, before, root, depth);
      case "put": return follow(0, this.put(call, memory).get(from.at));
      case "copy": return { leaf: true, value, number: true };
      case "where": return follow(this.replay.read(before, call.inputs[0])[entry] ? 1 : 2, entry);
      case "max": return { op: "max", parts: [], value, call: from.call };
    }
    const sum = TERMS_OF[call.name]?.call(this, call, entry, from, before);
    const leaf = ([k, entry]) => follow(k, entry, 99); // whatever made it
    if (sum) return { op: "sum", parts: [], value, call: from.call, terms: sum.map((factors) => factors.map(leaf)) };
    return { op: call.name, parts: call.inputs.map((_, k) => follow(k, entry)), value, call: from.call };
  }

  /* The place that a call of "take" copied an entry from. */
  taken(call, entry, memory) {
    const index = call.inputs.slice(1), buffers = index.map((view) => memory[this.trace.views[view][0]]);
    let found = null;
    this.replay.named(call.inputs[0], index, buffers, (i, at) => { if (i === entry) found = at; });
    return { buffer: this.trace.views[call.inputs[0]][0], at: found };
  }

  start() {
    return this.replay.memory(this.inputs);
  }

  /* A place, and all that it was copied to. */
  copies(place) {
    const found = [place];
    for (const call of this.replay.calls) {
      if (call.name !== "copy" || call.constant[0]) continue;
      for (const each of found) {
        const entry = this.entry(call.inputs[0], each);
        if (entry >= 0) found.push(this.place(call.out, entry));
      }
    }
    return found;
  }

  /* Lines that read a number after `time` and before another takes its place, each once: {number, line}. */
  readers(place, time) {
    const found = new Map();
    let watched = [place];
    const read = (number, call, entry) => {
      if (call.name === "copy") return watched.push(this.place(call.out, entry));
      const line = this.line(number), key = `${line.file}:${line.line}`;
      if (!found.has(key)) found.set(key, { number, line });
    };
    for (let number = time; number < this.replay.calls.length; number++) {
      const call = this.replay.calls[number];
      const entries = call.inputs.filter((_, k) => !call.constant[k])
        .flatMap((view) => watched.map((each) => this.entry(view, each))).filter((entry) => entry >= 0);
      if (call.name !== "put") watched = watched.filter((each) => this.entry(call.out, each) < 0);
      entries.forEach((entry) => read(number, call, entry));
    }
    return [...found.values()];
  }

  /* dL/d(a number of the forward pass): the number is given an imaginary part as soon as it is made. With `original`,
     where it was made before it was copied, so that all who read it there are counted as well. */
  complexStep(place, original = false) {
    const end = this.trace.forward, memory = this.start();
    const imaginary = this.trace.sizes.map((size) => new Float64Array(size));
    const before = this.replay.run(this.start(), end);
    const from = original ? this.origin(place, end, before) : { ...place, call: this.writer(place, end, before) };
    this.replay.run(memory, from.call + 1, 0, imaginary);
    imaginary[from.buffer][from.at] = STEP;
    this.replay.run(memory, end, from.call + 1, imaginary);
    const loss = this.place(this.trace.outputs.loss, 0);
    return imaginary[loss.buffer][loss.at] / STEP;
  }
}

/* The terms of calls that add up: each a list of factors, [number of the input, entry]. */
const TERMS_OF = {
  matmul(call, entry) {
    const { views } = this.trace, [n, k] = views[call.inputs[0]][2].slice(-2), m = views[call.out][2].at(-1);
    const batch = Math.floor(entry / (n * m)), row = Math.floor(entry / m) % n, column = entry % m;
    return Array.from({ length: k }, (_, j) => [[0, (batch * n + row) * k + j], [1, (batch * k + j) * m + column]]);
  },
  sum(call, entry, from) {
    const met = this.replay.positions(call.out).reduce((found, at, i) => (at === from.at ? [...found, i] : found), []);
    return met.map((i) => [[0, i]]);
  },
  one_hot(call, entry, from, memory) {
    const { views } = this.trace, columns = views[call.out][2][1], rows = views[call.inputs[1]][2][0];
    const row = Math.floor(entry / columns), tokens = Array.from(this.replay.read(memory, call.inputs[1]).entries());
    return tokens.filter(([, token]) => token === entry % columns).map(([n]) => [[0, row * rows + n]]);
  },
};
