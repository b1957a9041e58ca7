"use strict";
/* The interpreter of a trace, as replay.py: the calls of a recorded run again, on other numbers, real or complex.
   A buffer is a Float64Array; a complex run has a second one for the imaginary parts. */

class Replay {
  constructor(trace) {
    this.trace = trace;
    this.known = new Map();
    this.calls = trace.calls.map(([name, out, inputs, frame, line]) => ({
      name: trace.names[name], out, inputs: inputs.map((x) => (typeof x === "number" ? x : Number(x[0]))), frame, line,
      constant: inputs.map((x) => typeof x !== "number"),
    }));
  }

  /* Positions in the buffer of all entries of a view, in order. */
  positions(view) {
    if (this.known.has(view)) return this.known.get(view);
    const [, offset, shape, strides] = this.trace.views[view];
    const found = stretch(offset, shape, strides);
    this.known.set(view, found);
    return found;
  }

  /* All buffers, the inputs filled in. */
  memory(inputs) {
    const memory = this.trace.sizes.map((size) => new Float64Array(size));
    for (const [buffer, values] of Object.entries(this.trace.constants)) memory[buffer].set(values);
    for (const [name, view] of Object.entries(this.trace.inputs)) {
      const buffer = memory[this.trace.views[view][0]];
      this.positions(view).forEach((at, entry) => { buffer[at] = inputs[name][entry]; });
    }
    return memory;
  }

  /* Make the calls from the first to the last (without it); with a list of imaginary parts, in complex numbers. */
  run(memory, last = this.calls.length, first = 0, imaginary = null) {
    for (let number = first; number < last; number++) this.make(this.calls[number], memory, imaginary);
    return memory;
  }

  /* The numbers that a view shows. */
  read(memory, view) {
    const buffer = memory[this.trace.views[view][0]];
    return Float64Array.from(this.positions(view), (at) => buffer[at]);
  }

  make(call, re, im) {
    const views = this.trace.views;
    const to = this.positions(call.out), target = views[call.out][0];
    const from = call.inputs.map((x, k) => (call.constant[k] ? null : this.positions(x)));
    const buffers = (parts) => call.inputs.map((x, k) => (call.constant[k] ? null : parts[views[x][0]]));
    const x = { re: buffers(re), im: im && buffers(im), at: from, number: call.inputs };
    const out = { re: re[target], im: im && im[target], at: to };
    const special = SPECIAL[call.name];
    if (special) special.call(this, call, out, x);
    else if (im) elementwiseComplex(COMPLEX[call.name], out, x);
    else elementwise(REAL[call.name], out, x);
  }
}

function stretch(offset, shape, strides) {
  let found = [offset];
  shape.forEach((size, axis) => {
    const next = new Array(found.length * size);
    let n = 0;
    for (const start of found) for (let i = 0; i < size; i++) next[n++] = start + i * strides[axis];
    found = next;
  });
  return Int32Array.from(found);
}

const REAL = {
  add: (x, y) => x + y,
  subtract: (x, y) => x - y,
  multiply: (x, y) => x * y,
  divide: (x, y) => x / y,
  negative: (x) => -x,
  exp: Math.exp,
  tanh: Math.tanh,
  log1p: Math.log1p,
  square: (x) => x * x,
  copy: (x) => x,
  where: (condition, x, y) => (condition ? x : y),
};

/* The same of complex numbers: each argument is two, and the result is a pair. */
const COMPLEX = {
  add: (a, b, c, d) => [a + c, b + d],
  subtract: (a, b, c, d) => [a - c, b - d],
  multiply: (a, b, c, d) => [a * c - b * d, a * d + b * c],
  divide: (a, b, c, d) => {
    const size = c * c + d * d;
    return [(a * c + b * d) / size, (b * c - a * d) / size];
  },
  negative: (a, b) => [-a, -b],
  exp: (a, b) => [Math.exp(a) * Math.cos(b), Math.exp(a) * Math.sin(b)],
  tanh: (a, b) => { // (t + i u) / (1 + i t u), with t = tanh(a), u = tan(b)
    const t = Math.tanh(a), u = Math.tan(b), scale = 1 / (1 + t * u * t * u);
    return [(t + t * u * u) * scale, (u - t * t * u) * scale];
  },
  log1p: (a, b) => [0.5 * Math.log1p(2 * a + a * a + b * b), Math.atan2(b, 1 + a)],
  square: (a, b) => [a * a - b * b, 2 * a * b],
  copy: (a, b) => [a, b],
  where: (condition, _, a, b, c, d) => (condition ? [a, b] : [c, d]),
};

function elementwise(f, out, { re, at, number }) {
  const [p, q, r] = re.map((buffer, k) => (buffer ? (i) => buffer[at[k][i]] : () => number[k]));
  for (let i = 0; i < out.at.length; i++) out.re[out.at[i]] = r ? f(p(i), q(i), r(i)) : q ? f(p(i), q(i)) : f(p(i));
}

function elementwiseComplex(f, out, { re, im, at, number }) {
  for (let i = 0; i < out.at.length; i++) {
    const parts = [];
    re.forEach((buffer, k) => {
      if (buffer) parts.push(buffer[at[k][i]], im[k][at[k][i]]);
      else parts.push(number[k], 0);
    });
    [out.re[out.at[i]], out.im[out.at[i]]] = f(...parts);
  }
}

const SPECIAL = {
  sum(call, out, x) {
    for (const part of x.im ? ["re", "im"] : ["re"]) {
      for (const at of out.at) out[part][at] = 0;
      out.at.forEach((at, i) => { out[part][at] += x[part][0][x.at[0][i]]; });
    }
  },
  max(call, out, x) { // of the real parts, as it is subtracted inside a softmax and changes nothing
    for (const at of out.at) out.re[at] = -Infinity;
    out.at.forEach((at, i) => { out.re[at] = Math.max(out.re[at], x.re[0][x.at[0][i]]); });
    if (out.im) for (const at of out.at) out.im[at] = 0;
  },
  argmax(call, out, x) {
    const size = x.at[0].length / out.at.length;
    out.at.forEach((at, i) => {
      let best = 0;
      const value = (j) => x.re[0][x.at[0][i * size + j]];
      for (let j = 1; j < size; j++) if (value(j) > value(best)) best = j;
      out.re[at] = best;
      if (out.im) out.im[at] = 0;
    });
  },
  matmul(call, out, x) {
    const views = this.trace.views, [n, k] = views[call.inputs[0]][2].slice(-2), m = views[call.out][2].at(-1);
    for (let i = 0; i < out.at.length; i++) {
      const batch = Math.floor(i / (n * m)), row = Math.floor(i / m) % n, column = i % m;
      let real = 0, imaginary = 0;
      for (let j = 0; j < k; j++) {
        const a = x.at[0][(batch * n + row) * k + j], b = x.at[1][(batch * k + j) * m + column];
        real += x.re[0][a] * x.re[1][b];
        if (!out.im) continue;
        real -= x.im[0][a] * x.im[1][b];
        imaginary += x.re[0][a] * x.im[1][b] + x.im[0][a] * x.re[1][b];
      }
      out.re[out.at[i]] = real;
      if (out.im) out.im[out.at[i]] = imaginary;
    }
  },
  take(call, out, x) {
    this.named(call.inputs[0], call.inputs.slice(1), x.re.slice(1), (i, at) => {
      out.re[out.at[i]] = x.re[0][at];
      if (out.im) out.im[out.at[i]] = x.im[0][at];
    });
  },
  put(call, out, x) {
    this.named(call.out, call.inputs.slice(1), x.re.slice(1), (i, at) => {
      out.re[at] = x.re[0] ? x.re[0][x.at[0][i]] : x.number[0];
      if (out.im) out.im[at] = x.im[0] ? x.im[0][x.at[0][i]] : 0;
    });
  },
  one_hot(call, out, x) {
    const rows = x.at[1].length, columns = this.trace.views[call.out][2][1];
    for (const part of x.im ? ["re", "im"] : ["re"]) {
      for (const at of out.at) out[part][at] = 0;
      x.at[0].forEach((at, i) => {
        const row = Math.floor(i / rows), column = x.re[1][x.at[1][i % rows]];
        out[part][out.at[row * columns + column]] += x[part][0][at];
      });
    }
  },
};

/* Every entry of x[i, j, ...], where i, j, ... are arrays of indices: its number, and its position in the buffer. */
Replay.prototype.named = function (view, index, buffers, each) {
  const [, offset, shape, strides] = this.trace.views[view];
  const rest = stretch(0, shape.slice(index.length), strides.slice(index.length));
  const at = index.map((one) => this.positions(one));
  for (let n = 0, i = 0; n < at[0].length; n++) {
    let start = offset;
    for (let axis = 0; axis < at.length; axis++) start += buffers[axis][at[axis][n]] * strides[axis];
    for (const more of rest) each(i++, start + more);
  }
};
