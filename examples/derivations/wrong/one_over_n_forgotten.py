"""Wrong: σ² is a mean, and the 1/N of its derivative 2(x − μ)/N is forgotten."""

import minigrad as mg
from minigrad.verify import Derivation

EXPECTED = {"line": "dx", "verdict": "wrong", "reason": "the path through σ² comes N times"}


def batch_norm(x, gamma, beta, eps=1e-5):
    """Each column of x with mean 0 and variance 1, then scaled and shifted: `(N, D)` -> `(N, D)`."""
    mu = mg.name("mu", x.mean(axis=0), label="μ")
    var = mg.name("var", ((x - mu) ** 2).mean(axis=0), label="σ²")
    xhat = mg.name("xhat", (x - mu) / mg.sqrt(var + eps), label="x̂")
    return gamma * xhat + beta


d = Derivation(batch_norm, x="N D", gamma="D", beta="D")


@d.line
def dxhat(dout, gamma):
    """dl/dx̂ = dl/dout · γ"""
    return dout * gamma


@d.line
def dvar(dxhat, x, mu, var, eps):
    """dl/dσ² = Σ dl/dx̂ · (x − μ) · (−½)(σ² + ε)^(−3/2)"""
    return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5


@d.line
def dmu(dxhat, var, eps):
    """dl/dμ = Σ dl/dx̂ · (−1/√(σ² + ε))"""
    return -(dxhat / mg.sqrt(var + eps)).sum(axis=0)


@d.line
def dx(dxhat, dvar, dmu, x, mu, var, eps):
    """dl/dx = dl/dx̂ / √(σ² + ε) + dl/dσ² · 2(x − μ) + dl/dμ / N"""
    return dxhat / mg.sqrt(var + eps) + dvar * 2 * (x - mu) + dmu / len(x)
