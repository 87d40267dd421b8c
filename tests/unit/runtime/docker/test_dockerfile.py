"""What Dockerfiles say before they are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.container import Image
from harness.errors import UsageError
from harness.parts import TOXIPROXY
from harness.runtime.docker.dockerfile import require_ours, starting_images


@pytest.mark.parametrize(
    ("text", "given", "images"),
    [
        ("FROM python:3.12-slim\nRUN x", {}, ["python:3.12-slim"]),
        ("FROM --platform=linux/amd64 a:1 AS one\nFROM one\nFROM scratch", {}, ["a:1"]),
        ("ARG TAG=15\nFROM postgres:${TAG}", {}, ["postgres:15"]),
        ("ARG TAG=15\nFROM postgres:$TAG", {"TAG": "16"}, ["postgres:16"]),
        ("FROM node:${V:-20}", {}, ["node:20"]),
        ("from a\nfrom b as c\nFROM a", {}, ["a", "b"]),
        ("FROM a\nARG B=c\nFROM ${B}", {}, ["a"]),
    ],
)
def test_what_the_stages_start_from(text: str, given: dict[str, str], images: list[str]) -> None:
    assert starting_images(text, given) == images


OURS = "ARG BASE\nFROM ${BASE}\n"


@pytest.mark.parametrize(
    ("text", "image", "missing"),
    [
        ("FROM python:3.11\nCOPY files/ /", {"copies": {"a": "/a"}}, "FROM [$]{BASE}"),
        (OURS + "RUN true", {"copies": {"a": "/a"}}, "COPY files/ /"),
        (OURS + "RUN true", {"parts": (TOXIPROXY,)}, "COPY files/ /"),
        (OURS + "COPY files/ /", {"requirements": ("a",)}, "COPY site/"),
    ],
)
def test_what_an_image_brings_must_be_taken(
    text: str, image: dict[str, object], missing: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(UsageError, match=missing):
        require_ours(tmp_path, Image(tmp_path, **image))  # type: ignore[arg-type]


def test_one_that_takes_all(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(OURS + "COPY site/ /s/\nCOPY --chown=1 files/ /\n")
    require_ours(tmp_path, Image(tmp_path, copies={"a": "/a"}, requirements=("b",)))
