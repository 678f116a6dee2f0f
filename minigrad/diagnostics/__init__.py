"""What is wrong with a network, layer by layer; and where a NaN comes from.

`anomaly/` has detect_anomaly, `observer/` measures a model while it runs, `report/` says what is wrong with it, and
`watching` brings the last two together.
"""

from minigrad.diagnostics.anomaly import Anomaly, AnomalyError, detect_anomaly
from minigrad.diagnostics.report.findings import Finding
from minigrad.diagnostics.watching import Watch, watch

__all__ = ["Anomaly", "AnomalyError", "Finding", "Watch", "detect_anomaly", "watch"]
