"""Where a NaN or an infinity arises, and why."""

from minigrad.diagnostics.anomaly.anomaly import Anomaly, AnomalyError
from minigrad.diagnostics.anomaly.detect import detect_anomaly

__all__ = ["Anomaly", "AnomalyError", "detect_anomaly"]
