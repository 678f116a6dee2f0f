"""The installed version."""

from importlib.metadata import PackageNotFoundError, version


def installed() -> str:
    """The version in the package's metadata; "(not installed)" where it was never installed."""
    try:
        return version("minigrad")
    except PackageNotFoundError:
        return "(not installed)"
