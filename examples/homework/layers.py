"""Homework as courses give it: plain NumPy functions, forward and backward. Ten of the twenty are wrong in one line.

minigrad check examples/homework/layers.py
"""

import numpy as np


# 1. Affine layer: right.
def affine_forward(x, w, b):
    """x has shape (N, D), w has shape (D, M), b has shape (M,)."""
    out = x.reshape(x.shape[0], -1).dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


# 2. ReLU, written in place: right.
def relu_forward(x):
    """x: an array of shape (N, D)."""
    out = np.maximum(0, x)
    cache = x
    return out, cache


def relu_backward(dout, cache):
    x = cache
    dx = dout.copy()
    dx[x <= 0] = 0
    return dx


# 3. Batch norm step by step: the factor 2 of the square is missing.
def batchnorm_forward(x, gamma, beta, eps=1e-5):
    """x: (N, D), gamma: (D,), beta: (D,)."""
    N, D = x.shape
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu**2
    var = 1.0 / N * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    gammax = gamma * xhat
    out = gammax + beta
    cache = (xhat, gamma, xmu, ivar, sqrtvar, var, eps)
    return out, cache


def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgammax = dout
    dgamma = np.sum(dgammax * xhat, axis=0)
    dxhat = dgammax * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta


# 4. Layer norm over features: right.
def layernorm_forward(x, gamma, beta, ln_param={}):
    """x: (N, D), gamma: (D,), beta: (D,)."""
    eps = ln_param.get("eps", 1e-5)
    mean = np.mean(x, axis=1, keepdims=True)
    var = np.var(x, axis=1, keepdims=True)
    std = np.sqrt(var + eps)
    x_hat = (x - mean) / std
    out = gamma * x_hat + beta
    cache = {"x_hat": x_hat, "std": std, "gamma": gamma}
    return out, cache


def layernorm_backward(dout, cache):
    x_hat, std, gamma = cache["x_hat"], cache["std"], cache["gamma"]
    D = x_hat.shape[1]
    dgamma = (dout * x_hat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    dx_hat = dout * gamma
    dx = dx_hat - dx_hat.sum(axis=1, keepdims=True) / D - x_hat * (dx_hat * x_hat).sum(axis=1, keepdims=True) / D
    dx /= std
    return dx, dgamma, dbeta


# 5. Softmax loss, in textbook notation without dout: it forgets to divide by N.
def softmax_loss_forward(scores, y):
    """scores: (N, C), y: integers of shape (N,) below C."""
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    Z = np.sum(np.exp(shifted), axis=1, keepdims=True)
    log_probs = shifted - np.log(Z)
    probs = np.exp(log_probs)
    N = scores.shape[0]
    loss = -np.sum(log_probs[np.arange(N), y]) / N
    return loss, (probs, y)


def softmax_loss_backward(cache):
    probs, y = cache
    N = probs.shape[0]
    dscores = probs.copy()
    dscores[np.arange(N), y] -= 1
    return dscores


# 6. Dropout with a mask that is given: right.
def dropout_forward(x, dropout_param={"p": 0.6, "mode": "train", "seed": 3}):
    """x: (N, D)."""
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    mask = None
    if mode == "train":
        mask = (np.random.rand(*x.shape) < p) / p
        out = x * mask
    else:
        out = x
    cache = (dropout_param, mask)
    return out, cache


def dropout_backward(dout, cache):
    dropout_param, mask = cache
    if dropout_param["mode"] == "train":
        dx = dout * mask
    else:
        dx = dout
    return dx


# 7. A convolution with loops over pixels: the flipped kernel of a convolution instead of a correlation.
def conv_forward(x, w, b, conv_param={"stride": 1, "pad": 1}):
    """x: (N, C, H, W), w: (F, C, HH, WW), b: (F,), with N=2, C=2, H=4, W=5, F=2, HH=3, WW=3."""
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    H_out = 1 + (H + 2 * pad - HH) // stride
    W_out = 1 + (W + 2 * pad - WW) // stride
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    out = np.zeros((N, F, H_out, W_out))
    for n in range(N):
        for f in range(F):
            for i in range(H_out):
                for j in range(W_out):
                    window = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    cache = (x, w, b, conv_param)
    return out, cache


def conv_backward(dout, cache):
    x, w, b, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    _, _, H_out, W_out = dout.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    db = np.zeros_like(b)
    for n in range(N):
        for f in range(F):
            for i in range(H_out):
                for j in range(W_out):
                    window = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                    db[f] += dout[n, f, i, j]
                    dw[f] += window * dout[n, f, i, j]
                    dxp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] += (
                        w[f, :, ::-1, ::-1] * dout[n, f, i, j]
                    )
    dx = dxp[:, :, pad : pad + H, pad : pad + W]
    return dx, dw, db


# 8. Max pooling with argmax and loops: right.
def max_pool_forward(x, pool_param={"size": 2, "stride": 2}):
    """x: (N, C, H, W), with N=2, C=3, H=4, W=4."""
    size, stride = pool_param["size"], pool_param["stride"]
    N, C, H, W = x.shape
    out = np.zeros((N, C, H // stride, W // stride))
    for i in range(H // stride):
        for j in range(W // stride):
            window = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, :, i, j] = np.max(window, axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward(dout, cache):
    x, pool_param = cache
    size, stride = pool_param["size"], pool_param["stride"]
    N, C, H_out, W_out = dout.shape
    dx = np.zeros(x.shape)
    for n in range(N):
        for c in range(C):
            for i in range(H_out):
                for j in range(W_out):
                    window = x[n, c, i * stride : i * stride + size, j * stride : j * stride + size]
                    k, m = np.unravel_index(np.argmax(window), window.shape)
                    dx[n, c, i * stride + k, j * stride + m] += dout[n, c, i, j]
    return dx


# 9. A step of an LSTM: the forget gate is multiplied by the new cell state instead of the old one.
def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    """x: (N, D), prev_h: (N, H), prev_c: (N, H), Wx: (D, G), Wh: (H, G), b: (G,), with G=12, H=3."""
    H = prev_h.shape[1]
    a = x.dot(Wx) + prev_h.dot(Wh) + b
    i = 1 / (1 + np.exp(-a[:, :H]))
    f = 1 / (1 + np.exp(-a[:, H : 2 * H]))
    o = 1 / (1 + np.exp(-a[:, 2 * H : 3 * H]))
    g = np.tanh(a[:, 3 * H :])
    next_c = f * prev_c + i * g
    tanh_c = np.tanh(next_c)
    next_h = o * tanh_c
    cache = (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c, tanh_c)
    return next_h, next_c, cache


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c, tanh_c = cache
    do = dnext_h * tanh_c
    dtanh_c = dnext_h * o
    dc = dnext_c + dtanh_c * (1 - tanh_c**2)
    df = dc * next_c
    dprev_c = dc * f
    di = dc * g
    dg = dc * i
    da_i = di * i * (1 - i)
    da_f = df * f * (1 - f)
    da_o = do * o * (1 - o)
    da_g = dg * (1 - g**2)
    da = np.hstack((da_i, da_f, da_o, da_g))
    dx = da.dot(Wx.T)
    dprev_h = da.dot(Wh.T)
    dWx = x.T.dot(da)
    dWh = prev_h.T.dot(da)
    db = da.sum(axis=0)
    return dx, dprev_h, dprev_c, dWx, dWh, db


# 10. A recurrent network over time, with two helpers: right.
def rnn_step_forward(x, prev_h, Wx, Wh, b):
    """x: (N, D), prev_h: (N, H), Wx: (D, H), Wh: (H, H), b: (H,)."""
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    cache = (x, prev_h, Wx, Wh, next_h)
    return next_h, cache


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    dx = da @ Wx.T
    dprev_h = da @ Wh.T
    dWx = x.T @ da
    dWh = prev_h.T @ da
    db = da.sum(axis=0)
    return dx, dprev_h, dWx, dWh, db


def rnn_forward(x, h0, Wx, Wh, b):
    """x: (N, T, D), h0: (N, H), Wx: (D, H), Wh: (H, H), b: (H,)."""
    N, T, D = x.shape
    H = h0.shape[1]
    h = np.zeros((N, T, H))
    cache = []
    prev_h = h0
    for t in range(T):
        prev_h, step_cache = rnn_step_forward(x[:, t, :], prev_h, Wx, Wh, b)
        h[:, t, :] = prev_h
        cache.append(step_cache)
    return h, cache


def rnn_backward(dh, cache):
    N, T, H = dh.shape
    D = cache[0][0].shape[1]
    dx = np.zeros((N, T, D))
    dWx = np.zeros((D, H))
    dWh = np.zeros((H, H))
    db = np.zeros(H)
    dprev_h = np.zeros((N, H))
    for t in reversed(range(T)):
        dx[:, t, :], dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t, :] + dprev_h, cache[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    dh0 = dprev_h
    return dx, dh0, dWx, dWh, db


# 11. A character model with dictionaries by time, loss and gradients by hand: tanh's slope is missing its square.
def char_rnn_forward(inputs, targets, hprev, Wxh, Whh, Why, bh, by):
    """inputs: integers of shape (T,) below V, targets: integers of shape (T,) below V, hprev: (H, 1), Wxh: (H, V),
    Whh: (H, H), Why: (V, H), bh: (H, 1), by: (V, 1), with T=4, V=5, H=3."""
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    loss = 0
    for t in range(len(inputs)):
        xs[t] = np.zeros((Wxh.shape[1], 1))
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        loss += -np.log(ps[t][targets[t], 0])
    return loss, (xs, hs, ps, inputs, targets, Wxh, Whh, Why)


def char_rnn_backward(cache):
    xs, hs, ps, inputs, targets, Wxh, Whh, Why = cache
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros((Whh.shape[0], 1)), np.zeros((Why.shape[0], 1))
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.dot(dy, hs[t].T)
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t]) * dh
        dbh += dhraw
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    return dWxh, dWhh, dWhy, dbh, dby


# 12. Features × batch, as in the notation of deep learning courses: the bias is averaged over the wrong axis.
def linear_activation_forward(A_prev, W, b):
    """A_prev: (n, m), W: (k, n), b: (k, 1)."""
    Z = np.dot(W, A_prev) + b
    A = 1 / (1 + np.exp(-Z))
    cache = (A_prev, W, b, Z)
    return A, cache


def linear_activation_backward(dA, cache):
    A_prev, W, b, Z = cache
    m = A_prev.shape[1]
    s = 1 / (1 + np.exp(-Z))
    dZ = dA * s * (1 - s)
    dW = np.dot(dZ, A_prev.T)
    db = np.sum(dZ, axis=1, keepdims=True) / m
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, dW, db


# 13. A class with a cache and a dictionary of gradients: right.
class TwoLayerNet:
    def __init__(self, inputs=4, hidden=6, outputs=3, seed=0):
        rng = np.random.default_rng(seed)
        self.params = {
            "W1": rng.normal(size=(inputs, hidden)), "b1": rng.normal(size=hidden),
            "W2": rng.normal(size=(hidden, outputs)), "b2": rng.normal(size=outputs),
        }  # fmt: skip
        self.grads = {}

    def forward(self, x):
        """x: (N, 4)."""
        W1, b1 = self.params["W1"], self.params["b1"]
        W2, b2 = self.params["W2"], self.params["b2"]
        h = x @ W1 + b1
        h = np.maximum(h, 0)
        scores = h @ W2 + b2
        self.cache = (x, h)
        return scores

    def backward(self, dscores):
        x, h = self.cache
        self.grads["W2"] = h.T @ dscores
        self.grads["b2"] = dscores.sum(axis=0)
        dh = dscores @ self.params["W2"].T
        dh[h <= 0] = 0
        self.grads["W1"] = x.T @ dh
        self.grads["b1"] = dh.sum(axis=0)
        return dh @ self.params["W1"].T


# 14. A class with attributes dW and db: the gradient of the weights is transposed.
class Dense:
    def __init__(self, n_in=4, n_out=4):
        rng = np.random.default_rng(1)
        self.W = rng.normal(size=(n_in, n_out))
        self.b = np.zeros(n_out)

    def forward(self, x):
        """x: (N, 4)."""
        self.x = x
        self.z = x @ self.W + self.b
        self.out = np.tanh(self.z)
        return self.out

    def backward(self, grad_output):
        grad_z = grad_output * (1 - self.out**2)
        self.dW = grad_z.T @ self.x
        self.db = grad_z.sum(axis=0)
        grad_x = grad_z @ self.W.T
        return grad_x


# 15. An embedding with np.add.at: right.
def word_embedding_forward(x, W):
    """x: integers of shape (N, T) below V, W: (V, D)."""
    out = W[x]
    cache = (x, W.shape)
    return out, cache


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW = np.zeros(shape)
    np.add.at(dW, x, dout)
    return dW


# 16. Attention with one head: the scale of the scores is missing in the keys.
def attention_forward(q, k, v):
    """q: (N, T, D), k: (N, S, D), v: (N, S, E)."""
    scale = 1 / np.sqrt(q.shape[-1])
    scores = scale * np.matmul(q, k.transpose(0, 2, 1))
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    out = np.matmul(p, v)
    return out, (q, k, v, p, scale)


def attention_backward(dout, cache):
    q, k, v, p, scale = cache
    dv = np.matmul(p.transpose(0, 2, 1), dout)
    dp = np.matmul(dout, v.transpose(0, 2, 1))
    dscores = p * (dp - np.sum(dp * p, axis=-1, keepdims=True))
    dq = scale * np.matmul(dscores, k)
    dk = np.matmul(dscores.transpose(0, 2, 1), q)
    return dq, dk, dv


# 17. Mean squared error with weight decay, one function for the value, one for the gradient: the decay is halved twice.
def ridge_forward(X, y, w, reg=0.1):
    """X: (N, D), y: (N,), w: (D,)."""
    pred = X.dot(w)
    diff = pred - y
    loss = np.mean(diff**2) + 0.5 * reg * np.sum(w * w)
    return loss


def ridge_backward(X, y, w, reg=0.1):
    N = len(y)
    pred = X.dot(w)
    dpred = 2 * (pred - y) / N
    dw = X.T.dot(dpred)
    dw += 0.5 * reg * w
    return dw


# 18. The normalized direction of a vector, names with grad_: right.
def normalize_forward(v):
    """v: (N, D)."""
    norm = np.sqrt(np.sum(v * v, axis=1, keepdims=True))
    u = v / norm
    return u, (v, norm, u)


def normalize_backward(grad_u, cache):
    v, norm, u = cache
    grad_norm = -np.sum(grad_u * v, axis=1, keepdims=True) / norm**2
    grad_v = grad_u / norm + grad_norm * v / norm
    return grad_v


# 19. Two layers in one function, with an upstream gradient that is overwritten: the slope uses the wrong layer's output.
def mlp_forward(x, W1, W2):
    """x: (N, D), W1: (D, H), W2: (H, H)."""
    a1 = np.tanh(x @ W1)
    a2 = np.tanh(a1 @ W2)
    return a2, (x, W1, W2, a1, a2)


def mlp_backward(dout, cache):
    x, W1, W2, a1, a2 = cache
    dout = dout * (1 - a1**2)
    dW2 = a1.T @ dout
    dout = dout @ W2.T
    dout = dout * (1 - a1**2)
    dW1 = x.T @ dout
    dx = dout @ W1.T
    return dx, dW1, dW2


# 20. Group norm with reshapes: right.
def groupnorm_forward(x, gamma, beta, G=2, eps=1e-5):
    """x: (N, C, H, W), gamma: (1, C, 1, 1), beta: (1, C, 1, 1), with N=2, C=4, H=3, W=2."""
    N, C, H, W = x.shape
    xg = x.reshape(N, G, C // G * H * W)
    mu = xg.mean(axis=2, keepdims=True)
    var = xg.var(axis=2, keepdims=True)
    rstd = (var + eps) ** -0.5
    xhat = ((xg - mu) * rstd).reshape(N, C, H, W)
    out = gamma * xhat + beta
    return out, (G, xhat, rstd, gamma)


def groupnorm_backward(dout, cache):
    G, xhat, rstd, gamma = cache
    N, C, H, W = dout.shape
    dgamma = np.sum(dout * xhat, axis=(0, 2, 3), keepdims=True)
    dbeta = np.sum(dout, axis=(0, 2, 3), keepdims=True)
    dxhat = (dout * gamma).reshape(N, G, -1)
    h = xhat.reshape(N, G, -1)
    dxg = rstd * (dxhat - dxhat.mean(axis=2, keepdims=True) - h * (dxhat * h).mean(axis=2, keepdims=True))
    dx = dxg.reshape(N, C, H, W)
    return dx, dgamma, dbeta
