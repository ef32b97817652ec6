"""Helpers: loading a stored calibration."""


def chip_from_nightly():
    """Stands in for the configuration of the last nightly calibration."""
    return object()


def chip_from_file(path):
    """Stands in for a stored configuration."""
    return object()
