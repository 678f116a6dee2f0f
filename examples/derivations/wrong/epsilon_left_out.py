"""Wrong: ε is missing in (σ² + ε)^(−3/2).

With ε = 1e-5 the result is off in the fifth digit, and almost every check passes it. Here the check uses ε = 0.3,
unless another value is passed.
"""

import minigrad as mg
from minigrad.verify import Derivation

EXPECTED = {"line": "dvar", "verdict": "wrong", "repair": "`var` should be `var + eps`"}


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
def dvar(dxhat, x, mu, var):
    """dl/dσ² = Σ dl/dx̂ · (x − μ) · (−½)(σ²)^(−3/2)"""
    return (dxhat * (x - mu)).sum(axis=0) * -0.5 * var**-1.5


@d.line
def dmu(dxhat, var, eps):
    """dl/dμ = Σ dl/dx̂ · (−1/√(σ² + ε))"""
    return -(dxhat / mg.sqrt(var + eps)).sum(axis=0)


@d.line
def dx(dxhat, dvar, dmu, x, mu, var, eps):
    """dl/dx = dl/dx̂ / √(σ² + ε) + dl/dσ² · 2(x − μ)/N + dl/dμ / N"""
    return dxhat / mg.sqrt(var + eps) + dvar * 2 * (x - mu) / len(x) + dmu / len(x)
