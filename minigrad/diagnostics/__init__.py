"""What is wrong with a network, layer by layer; and where a NaN comes from."""

from minigrad.diagnostics.anomaly import Anomaly, AnomalyError
from minigrad.diagnostics.nonfinite import detect_anomaly

__all__ = ["Anomaly", "AnomalyError", "detect_anomaly"]
