"""What cannot work on an engine, found by looking, before anybody needs it."""

from __future__ import annotations

from harness.runtime.docker.base import PUBLIC, base_tag, obstacle
from harness.runtime.docker.build import find_image
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.kernel import NETEM, kernel_has, packet_loss


def limits_of(engine: Engine) -> list[str]:
    """One line for each thing that the engine cannot do, or that nobody could find out."""
    return [line for line in (*_machine(engine), _kernel(engine), _images(engine)) if line]


def _machine(engine: Engine) -> list[str]:
    facts = engine.facts
    lines = []
    if not engine.local:
        lines.append(
            "Its containers are no processes of this machine: single workers of a node cannot be "
            "killed, and what its nodes use is not measured."
        )
    if facts.rootless:
        lines.append("It is rootless: limits and squeezes of CPU and memory may be refused.")
    return lines


def _kernel(engine: Engine) -> str:
    if not engine.local:
        return ""
    if packet_loss() is False:
        return "This kernel has no iptables match `statistic`: packet loss is refused."
    if kernel_has(*NETEM) is False:
        return (
            "This kernel has no netem (sch_netem): packets are lost by iptables; none can be "
            "delayed, and links are, by Toxiproxy."
        )
    return ""


def _images(engine: Engine) -> str:
    """Only what is here is looked at: whether a registry answers takes seconds to find out."""
    if find_image(engine, base_tag(engine)) or find_image(engine, PUBLIC):
        return ""
    blocked = obstacle(engine)
    if blocked is None:
        return ""
    return f"No base image is here, and only a registry can give one: {blocked.what}"
