"""The systems under test, one folder each: how a node starts, its roles, its client."""

from pathlib import Path

IMAGES = Path(__file__).parents[1] / "compose" / "images"
"""The folders with the Dockerfiles of their nodes."""
