"""What is wrong with a network, layer by layer; and where a NaN comes from."""

from minigrad.diagnostics.anomaly import Anomaly, AnomalyError
from minigrad.diagnostics.findings import Finding
from minigrad.diagnostics.nonfinite import detect_anomaly
from minigrad.diagnostics.watching import Watch, watch

__all__ = ["Anomaly", "AnomalyError", "Finding", "Watch", "detect_anomaly", "watch"]
