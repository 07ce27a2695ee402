"""The version of the package; the same in R's DESCRIPTION."""

__version__ = "0.1.0"
