"""The one version number of controller and agent; they are released together."""

__version__ = "0.1.0"
