"""Layers as people write them: a forward that returns (output, cache), a backward, and example inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.special

rng = np.random.default_rng(7)


class Layer(NamedTuple):
    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: Any
    unproved: str = ""  # the reason, where it cannot be proved


LAYERS: list[Layer] = []


def layer(name, *inputs, unproved=""):
    """Register the forward and the backward that a function without arguments returns."""

    def register(make):
        LAYERS.append(Layer(name, *make(), inputs, unproved))
        return make

    return register


def normal(*shape):
    return rng.standard_normal(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@layer("dense", normal(3, 4), normal(4, 2), normal(2))
def _():
    def forward(x, W, b):
        return x @ W + b, (x, W)

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, dout.sum(axis=0)

    return forward, backward


@layer("dense by einsum", normal(2, 3, 4), normal(4, 2))
def _():
    def forward(x, W):
        return np.einsum("btk,kn->btn", x, W), (x, W)

    def backward(dout, cache):
        x, W = cache
        return np.einsum("btn,kn->btk", dout, W), np.einsum("btk,btn->kn", x, dout)

    return forward, backward


@layer("relu", normal(3, 4))
def _():
    return lambda x: (np.maximum(0, x), x), lambda dout, x: dout * (x > 0)


@layer("relu in place", normal(3, 4))
def _():
    def backward(dout, x):
        dx = dout.copy()
        dx[x <= 0] = 0
        return dx

    return lambda x: (np.maximum(0, x), x), backward


@layer("leaky relu", normal(3, 4))
def _():
    return lambda x: (np.where(x > 0, x, 0.01 * x), x), lambda dout, x: dout * np.where(x > 0, 1, 0.01)


@layer("elu", normal(3, 4))
def _():
    def forward(x):
        out = np.where(x > 0, x, 0.5 * (np.exp(np.minimum(x, 0)) - 1))
        return out, (x, out)

    def backward(dout, cache):
        x, out = cache
        return dout * np.where(x > 0, 1, out + 0.5)

    return forward, backward


@layer("sigmoid", normal(3, 4))
def _():
    def forward(x):
        y = sigmoid(x)
        return y, y

    return forward, lambda dout, y: dout * y * (1 - y)


@layer("stable sigmoid", normal(3, 4))
def _():
    def forward(x):
        z = np.exp(-np.abs(x))
        y = np.where(x >= 0, 1 / (1 + z), z / (1 + z))
        return y, y

    return forward, lambda dout, y: dout * y * (1 - y)


@layer("tanh", normal(3, 4))
def _():
    def forward(x):
        y = np.tanh(x)
        return y, y

    return forward, lambda dout, y: dout * (1 - y**2)


@layer("softplus", normal(3, 4))
def _():
    return lambda x: (np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0), x), lambda dout, x: dout * sigmoid(x)


@layer("swish", normal(3, 4))
def _():
    def forward(x):
        s = sigmoid(x)
        return x * s, (x, s)

    def backward(dout, cache):
        x, s = cache
        return dout * (s + x * s * (1 - s))

    return forward, backward


@layer("GELU by tanh", normal(3, 4), unproved="0.044715")
def _():
    c = np.sqrt(2 / np.pi)

    def forward(x):
        t = np.tanh(c * (x + 0.044715 * x**3))
        return 0.5 * x * (1 + t), (x, t)

    def backward(dout, cache):
        x, t = cache
        return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2))

    return forward, backward


@layer("GELU by erf", normal(3, 4), unproved="2.506")
def _():
    def forward(x):
        return 0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2))), x

    def backward(dout, x):
        cdf = 0.5 * (1 + scipy.special.erf(x / np.sqrt(2)))
        return dout * (cdf + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))

    return forward, backward


@layer("softmax", normal(3, 4))
def _():
    def forward(x):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        return p, p

    return forward, lambda dout, p: p * (dout - (dout * p).sum(axis=-1, keepdims=True))


@layer("softmax by its Jacobian", normal(3, 4))
def _():
    def forward(x):
        e = np.exp(x - np.max(x, axis=1, keepdims=True))
        p = e / np.sum(e, axis=1, keepdims=True)
        return p, p

    def backward(dout, p):
        dx = np.zeros_like(p)
        for row in range(len(p)):
            jacobian = np.diag(p[row]) - np.outer(p[row], p[row])
            dx[row] = jacobian @ dout[row]
        return dx

    return forward, backward


@layer("log-softmax", normal(3, 4))
def _():
    def forward(x):
        shifted = x - x.max(axis=1, keepdims=True)
        y = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return y, y

    return forward, lambda dout, y: dout - np.exp(y) * dout.sum(axis=1, keepdims=True)


@layer("log-sum-exp", normal(3, 4))
def _():
    def forward(x):
        m = x.max(axis=1)
        y = m + np.log(np.exp(x - m[:, None]).sum(axis=1))
        return y, (x, y)

    return forward, lambda dout, cache: dout[:, None] * np.exp(cache[0] - cache[1][:, None])


@layer("softmax with cross-entropy, a mean of 4", normal(4, 5))
def _():
    y = np.array([0, 2, 1, 4])

    def forward(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(y)), y]).mean(), p

    def backward(dout, p):
        dx = p.copy()
        dx[np.arange(len(y)), y] -= 1
        return dout * dx / len(y)

    return forward, backward


@layer("logistic loss", normal(4))
def _():
    y = np.array([1.0, 0.0, 0.0, 1.0])
    return (
        lambda x: ((np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))).sum(), x),
        lambda dout, x: dout * (sigmoid(x) - y),
    )


@layer("mean squared error", normal(3, 4), normal(3, 4))
def _():
    def backward(dout, cache):
        x, y = cache
        d = dout * 2 * (x - y) / x.size
        return d, -d

    return lambda x, y: (((x - y) ** 2).mean(), (x, y)), backward


@layer("hinge loss", normal(3, 4))
def _():
    y = np.array([0, 3, 1])

    def forward(x):
        margins = np.maximum(0, x - x[np.arange(3), y][:, None] + 1)
        margins[np.arange(3), y] = 0
        return margins.sum(), margins

    def backward(dout, margins):
        dx = (margins > 0) * dout
        dx[np.arange(3), y] -= dx.sum(axis=1)
        return dx

    return forward, backward


@layer("Huber loss", 2 * normal(3, 4))
def _():
    def forward(x):
        a = np.abs(x)
        return np.where(a < 1, 0.5 * x**2, a - 0.5).sum(), x

    return forward, lambda dout, x: dout * np.clip(x, -1, 1)


@layer("KL divergence of two normals", normal(3, 2), normal(3, 2))
def _():
    def forward(mean, log_variance):
        return -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(), (mean, log_variance)

    def backward(dout, cache):
        mean, log_variance = cache
        return dout * mean, dout * 0.5 * (np.exp(log_variance) - 1)

    return forward, backward


@layer("layer norm", normal(3, 4), normal(4), normal(4))
def _():
    def forward(x, gain, bias):
        c = x - x.mean(axis=-1, keepdims=True)
        s = 1 / np.sqrt((c**2).mean(axis=-1, keepdims=True) + 1e-5)
        n = c * s
        return n * gain + bias, (n, s, gain)

    def backward(dout, cache):
        n, s, gain = cache
        dn = dout * gain
        dx = (dn - dn.mean(axis=-1, keepdims=True) - n * (dn * n).mean(axis=-1, keepdims=True)) * s
        return dx, (dout * n).sum(axis=0), dout.sum(axis=0)

    return forward, backward


@layer("batch norm, step by step", normal(4, 3), normal(3), normal(3))
def _():
    def forward(x, gamma, beta):
        N = x.shape[0]
        mu = 1 / N * np.sum(x, axis=0)
        xmu = x - mu
        var = 1 / N * np.sum(xmu**2, axis=0)
        sqrtvar = np.sqrt(var + 1e-5)
        ivar = 1 / sqrtvar
        xhat = xmu * ivar
        return gamma * xhat + beta, (xhat, gamma, xmu, ivar, sqrtvar, var)

    def backward(dout, cache):
        xhat, gamma, xmu, ivar, sqrtvar, var = cache
        N, D = dout.shape
        dbeta = np.sum(dout, axis=0)
        dgamma = np.sum(dout * xhat, axis=0)
        dxhat = dout * gamma
        divar = np.sum(dxhat * xmu, axis=0)
        dxmu1 = dxhat * ivar
        dsqrtvar = -1 / sqrtvar**2 * divar
        dvar = 0.5 * 1 / np.sqrt(var + 1e-5) * dsqrtvar
        dsq = 1 / N * np.ones((N, D)) * dvar
        dxmu2 = 2 * xmu * dsq
        dx1 = dxmu1 + dxmu2
        dmu = -1 * np.sum(dx1, axis=0)
        return dx1 + 1 / N * np.ones((N, D)) * dmu, dgamma, dbeta

    return forward, backward


@layer("batch norm by powers", normal(5, 2), normal(2), normal(2))
def _():
    def forward(x, gamma, beta):
        mean, var = x.mean(axis=0), x.var(axis=0)
        xhat = (x - mean) / np.sqrt(var + 1e-5)
        return gamma * xhat + beta, (x, xhat, mean, var, gamma)

    def backward(dout, cache):
        x, xhat, mean, var, gamma = cache
        N = len(x)
        dxhat = dout * gamma
        dvar = np.sum(dxhat * (x - mean) * -0.5 * (var + 1e-5) ** -1.5, axis=0)
        dmean = np.sum(-dxhat / np.sqrt(var + 1e-5), axis=0) + dvar * np.mean(-2 * (x - mean), axis=0)
        dx = dxhat / np.sqrt(var + 1e-5) + dvar * 2 * (x - mean) / N + dmean / N
        return dx, np.sum(dout * xhat, axis=0), np.sum(dout, axis=0)

    return forward, backward


@layer("RMS norm", normal(3, 4), normal(4))
def _():
    def forward(x, gain):
        r = np.sqrt((x * x).mean(axis=1, keepdims=True))
        return x / r * gain, (x, r, gain)

    def backward(dout, cache):
        x, r, gain = cache
        dn = dout * gain
        return dn / r - x * (dn * x).mean(axis=1, keepdims=True) / r**3, (dout * x / r).sum(axis=0)

    return forward, backward


@layer("L2 normalisation", normal(3, 4))
def _():
    def forward(x):
        n = np.linalg.norm(x, axis=1, keepdims=True)
        return x / n, (x / n, n)

    def backward(dout, cache):
        y, n = cache
        return (dout - y * (dout * y).sum(axis=1, keepdims=True)) / n

    return forward, backward


@layer("cosine similarity", normal(3, 4), normal(3, 4))
def _():
    def forward(a, b):
        na, nb = np.sqrt((a * a).sum(axis=1)), np.sqrt((b * b).sum(axis=1))
        c = (a * b).sum(axis=1) / (na * nb)
        return c, (a, b, na, nb, c)

    def backward(dout, cache):
        a, b, na, nb, c = (each[:, None] if each.ndim == 1 else each for each in cache)
        d = dout[:, None]
        return d * (b / (na * nb) - c * a / na**2), d * (a / (na * nb) - c * b / nb**2)

    return forward, backward


@layer("RNN through time", normal(2, 3, 2), normal(2, 3), normal(3, 3), normal(3))
def _():
    def forward(x, W, U, b):
        N, T, _ = x.shape
        h = np.zeros((N, T + 1, len(b)))
        for t in range(T):
            h[:, t + 1] = np.tanh(x[:, t] @ W + h[:, t] @ U + b)
        return h[:, 1:].copy(), (x, h, W, U)

    def backward(dout, cache):
        x, h, W, U = cache
        dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros(len(U))
        dnext = np.zeros(h[:, 0].shape)
        for t in reversed(range(x.shape[1])):
            da = (dout[:, t] + dnext) * (1 - h[:, t + 1] ** 2)
            dx[:, t] = da @ W.T
            dW += x[:, t].T @ da
            dU += h[:, t].T @ da
            db += da.sum(axis=0)
            dnext = da @ U.T
        return dx, dW, dU, db

    return forward, backward


@layer("LSTM step", normal(2, 3), normal(2, 2), normal(2, 2), normal(5, 8), normal(8))
def _():
    def forward(x, h, c, W, b):
        H = h.shape[1]
        z = np.hstack([x, h])
        a = z @ W + b
        i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 2 * H : 3 * H])
        g = np.tanh(a[:, 3 * H :])
        new_c = f * c + i * g
        t = np.tanh(new_c)
        return (o * t, new_c), (z, c, W, i, f, o, g, t, x.shape[1])

    def backward(dout, cache):
        dh, dc = dout
        z, c, W, i, f, o, g, t, D = cache
        dc = dc + dh * o * (1 - t * t)
        da = np.hstack([dc * g * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o), dc * i * (1 - g * g)])
        dz = da @ W.T
        return dz[:, :D], dz[:, D:], dc * f, z.T @ da, da.sum(axis=0)

    return forward, backward


@layer("GRU step", normal(2, 3), normal(2, 2), normal(3, 6), normal(2, 6))
def _():
    def forward(x, h, W, U):
        a, p = x @ W, h @ U
        H = h.shape[1]
        r, z = sigmoid(a[:, :H] + p[:, :H]), sigmoid(a[:, H : 2 * H] + p[:, H : 2 * H])
        n = np.tanh(a[:, 2 * H :] + r * p[:, 2 * H :])
        return (1 - z) * n + z * h, (x, h, W, U, r, z, n, p[:, 2 * H :])

    def backward(dout, cache):
        x, h, W, U, r, z, n, pn = cache
        dn = dout * (1 - z) * (1 - n * n)
        dz = dout * (h - n) * z * (1 - z)
        dr = dn * pn * r * (1 - r)
        da = np.concatenate([dr, dz, dn], axis=1)
        dp = np.concatenate([dr, dz, dn * r], axis=1)
        return da @ W.T, dp @ U.T + dout * z, x.T @ da, h.T @ dp

    return forward, backward


@layer("convolution by loops", normal(2, 2, 4, 4), normal(3, 2, 3, 3), normal(3))
def _():
    def forward(x, w, b):
        N, _, H, W = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        out = np.zeros((N, len(w), H, W))
        for i in range(H):
            for j in range(W):
                window = padded[:, :, i : i + 3, j : j + 3]
                out[:, :, i, j] = np.tensordot(window, w, axes=([1, 2, 3], [1, 2, 3])) + b
        return out, (padded, w)

    def backward(dout, cache):
        padded, w = cache
        dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                d = dout[:, :, i, j]
                dw += np.tensordot(d, padded[:, :, i : i + 3, j : j + 3], axes=(0, 0))
                dpadded[:, :, i : i + 3, j : j + 3] += np.tensordot(d, w, axes=(1, 0))
        return dpadded[:, :, 1:-1, 1:-1], dw, dout.sum(axis=(0, 2, 3))

    return forward, backward


@layer("convolution by windows and einsum", normal(2, 2, 4, 4), normal(3, 2, 2, 2))
def _():
    windows = np.lib.stride_tricks.sliding_window_view

    def forward(x, w):
        view = windows(x, (2, 2), axis=(2, 3))
        return np.einsum("nchwij,fcij->nfhw", view, w), (x, w)

    def backward(dout, cache):
        x, w = cache
        dw = np.einsum("nfhw,nchwij->fcij", dout, windows(x, (2, 2), axis=(2, 3)))
        padded = np.pad(dout, ((0, 0), (0, 0), (1, 1), (1, 1)))
        dx = np.einsum("nfhwij,fcij->nchw", windows(padded, (2, 2), axis=(2, 3)), w[:, :, ::-1, ::-1])
        return dx, dw

    return forward, backward


@layer("convolution by strides", normal(2, 6), normal(3))
def _():
    def forward(x, w):
        shape, strides = (x.shape[0], x.shape[1] - 2, 3), (*x.strides, x.strides[1])
        view = np.lib.stride_tricks.as_strided(x, shape, strides)
        return view @ w, (view, w, x.shape)

    def backward(dout, cache):
        view, w, shape = cache
        dx = np.zeros(shape)
        for k in range(3):
            dx[:, k : k + dout.shape[1]] += dout * w[k]
        return dx, np.einsum("nt,ntk->k", dout, view)

    return forward, backward


@layer("convolution in one dimension by np.convolve", normal(6), normal(3))
def _():
    def backward(dout, cache):
        x, w = cache
        return np.convolve(dout, w[::-1], "full"), np.convolve(x[::-1], dout, "valid")[::-1][::-1]

    return lambda x, w: (np.convolve(x, w, "valid"), (x, w)), backward


@layer("max pooling", normal(2, 2, 4, 4))
def _():
    def forward(x):
        N, C, H, W = x.shape
        blocks = x.reshape(N, C, H // 2, 2, W // 2, 2)
        out = blocks.max(axis=(3, 5))
        return out, (blocks, out, x.shape)

    def backward(dout, cache):
        blocks, out, shape = cache
        mask = blocks == out[:, :, :, None, :, None]
        return (mask * dout[:, :, :, None, :, None]).reshape(shape)

    return forward, backward


@layer("max pooling by argmax", normal(2, 6))
def _():
    def forward(x):
        blocks = x.reshape(2, 3, 2)
        index = blocks.argmax(axis=2)
        return np.take_along_axis(blocks, index[..., None], axis=2)[..., 0], index

    def backward(dout, index):
        dx = np.zeros((2, 3, 2))
        np.put_along_axis(dx, index[..., None], dout[..., None], axis=2)
        return dx.reshape(2, 6)

    return forward, backward


@layer("average pooling", normal(2, 6))
def _():
    return (
        lambda x: (x.reshape(2, 2, 3).mean(axis=2), None),
        lambda dout, cache: np.repeat(dout / 3, 3, axis=1),
    )


@layer("dropout with its mask", normal(3, 4))
def _():
    mask = (np.random.default_rng(0).random((3, 4)) < 0.8) / 0.8
    return lambda x: (x * mask, mask), lambda dout, mask: dout * mask


@layer("scaled dot-product attention", normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 3))
def _():
    def forward(q, k, v):
        e = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        a = np.exp(e - e.max(axis=-1, keepdims=True))
        a /= a.sum(axis=-1, keepdims=True)
        return a @ v, (q, k, v, a)

    def backward(dout, cache):
        q, k, v, a = cache
        da = dout @ v.transpose(0, 2, 1)
        de = a * (da - (da * a).sum(axis=-1, keepdims=True)) / np.sqrt(q.shape[-1])
        return de @ k, de.transpose(0, 2, 1) @ q, a.transpose(0, 2, 1) @ dout

    return forward, backward


@layer("masked attention", normal(2, 3), normal(2, 3, 4))
def _():
    mask = np.array([[True, True, False], [True, True, True]])

    def forward(e, h):
        e = np.where(mask, e, -np.inf)
        a = np.exp(e - e.max(axis=1, keepdims=True))
        a = a / a.sum(axis=1, keepdims=True)
        return np.einsum("bt,bth->bh", a, h), (a, h)

    def backward(dout, cache):
        a, h = cache
        da = np.einsum("bh,bth->bt", dout, h)
        return a * (da - (a * da).sum(axis=1, keepdims=True)), a[:, :, None] * dout[:, None]

    return forward, backward


@layer("additive attention", normal(2, 3), normal(2, 4, 3), normal(3, 2), normal(3, 2), normal(2))
def _():
    def forward(s, h, W, U, v):
        z = np.tanh((s @ W)[:, None] + h @ U)
        return z @ v, (s, h, W, U, v, z)

    def backward(de, cache):
        s, h, W, U, v, z = cache
        da = de[..., None] * v * (1 - z * z)
        dq = da.sum(axis=1)
        return dq @ W.T, da @ U.T, s.T @ dq, np.einsum("bth,bta->ha", h, da), np.einsum("bt,bta->a", de, z)

    return forward, backward


@layer("embedding by np.add.at", normal(6, 3))
def _():
    tokens = np.array([[0, 2, 2], [5, 0, 1]])

    def backward(dout, shape):
        dtable = np.zeros(shape)
        np.add.at(dtable, tokens, dout)
        return dtable

    return lambda table: (table[tokens], table.shape), backward


@layer("embedding by a one-hot product", normal(6, 3))
def _():
    one_hot = np.eye(6)[np.array([0, 2, 2, 5])]
    return lambda table: (one_hot @ table, None), lambda dout, cache: one_hot.T @ dout


@layer("clip", normal(3, 4))
def _():
    return lambda x: (np.clip(x, -0.5, 0.5), x), lambda dout, x: dout * ((x >= -0.5) & (x <= 0.5))


@layer("triangular solve by a loop", normal(4, 4) + 4 * np.eye(4), normal(4))
def _():
    def forward(L, b):
        x = np.zeros(len(b))
        for i in range(len(b)):
            x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
        return x, (L, x)

    def backward(dout, cache):
        L, x = cache
        db = np.zeros(len(x))
        for i in reversed(range(len(x))):
            db[i] = (dout[i] - L[i + 1 :, i] @ db[i + 1 :]) / L[i, i]
        return -np.tril(np.outer(db, x)), db

    return forward, backward


@layer("solve by LAPACK", normal(3, 3) + 3 * np.eye(3), normal(3), unproved="np.linalg.solve has no exact form")
def _():
    def forward(A, b):
        x = np.linalg.solve(A, b)
        return x, (A, x)

    def backward(dout, cache):
        A, x = cache
        db = np.linalg.solve(A.T, dout)
        return -np.outer(db, x), db

    return forward, backward


@layer("cumulative sum", normal(3, 4))
def _():
    return lambda x: (np.cumsum(x, axis=1), None), lambda dout, c: np.flip(np.cumsum(np.flip(dout, 1), axis=1), 1)


@layer("product of a row", normal(3, 4))
def _():
    def forward(x):
        y = np.prod(x, axis=1)
        return y, (x, y)

    return forward, lambda dout, cache: (dout * cache[1])[:, None] / cache[0]


@layer("variance", normal(3, 4))
def _():
    return lambda x: (np.var(x, axis=1), x), lambda dout, x: dout[:, None] * 2 * (x - x.mean(axis=1, keepdims=True)) / 4


@layer("standard deviation", normal(3, 4))
def _():
    def forward(x):
        s = np.std(x, axis=1, keepdims=True)
        return s, (x, s)

    return forward, lambda dout, cache: dout * (cache[0] - cache[0].mean(axis=1, keepdims=True)) / (4 * cache[1])


@layer("highway", normal(3, 2), normal(2, 2), normal(2, 2))
def _():
    def forward(x, W, V):
        h, t = np.maximum(x @ W, 0), sigmoid(x @ V)
        return t * h + (1 - t) * x, (x, W, V, h, t)

    def backward(dout, cache):
        x, W, V, h, t = cache
        da, dt = dout * t * (h > 0), dout * (h - x) * t * (1 - t)
        return da @ W.T + dt @ V.T + dout * (1 - t), x.T @ da, x.T @ dt

    return forward, backward


@layer("bilinear form", normal(3, 2), normal(2, 4), normal(3, 4))
def _():
    def forward(x, W, y):
        return ((x @ W) * y).sum(axis=1), (x, W, y)

    def backward(dout, cache):
        x, W, y = cache
        d = dout[:, None]
        return d * (y @ W.T), (d * x).T @ y, d * (x @ W)

    return forward, backward


@layer("pairwise distances", normal(3, 2), normal(4, 2))
def _():
    def forward(a, b):
        difference = a[:, None] - b[None]
        d = np.sqrt((difference**2).sum(axis=2))
        return d, (difference, d)

    def backward(dout, cache):
        difference, d = cache
        g = (dout / d)[..., None] * difference
        return g.sum(axis=1), -g.sum(axis=0)

    return forward, backward


@layer("minimum and maximum", normal(3, 4), normal(3, 4))
def _():
    def backward(dout, cache):
        a, b = cache
        low, high = dout
        return low * (a < b) + high * (a > b), low * (b < a) + high * (b > a)

    return lambda a, b: ((np.minimum(a, b), np.maximum(a, b)), (a, b)), backward
