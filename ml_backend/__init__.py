"""cytoloop's service: what Label Studio talks to, and the loop that learns from corrections."""

__version__ = "0.1.0"
