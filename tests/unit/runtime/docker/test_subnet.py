"""The addresses of a cluster of containers: one for each node and link, none of them taken."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.runtime.docker.subnet import MAX_NODES, Subnet, candidates, routes_here

NODES = ("node-1", "node-2", "node-3")
SUBNET = Subnet((10, 77), NODES)


def test_nodes_links_and_toxiproxy_have_different_addresses_all_inside() -> None:
    nodes = tuple(f"node-{number}" for number in range(1, MAX_NODES + 1))
    subnet = Subnet((10, 77), nodes)
    own = [subnet.address(node) for node in nodes]
    links = [
        subnet.link_address(source, node)
        for source, node in itertools.product(("client", *nodes), nodes)
        if source != node
    ]
    assert len(links) == MAX_NODES * MAX_NODES
    everything = [*own, *links, subnet.toxiproxy, subnet.gateway]
    assert len(set(everything)) == len(everything)
    whole, upper = ipaddress.IPv4Network(subnet.cidr), ipaddress.IPv4Network(subnet.links)
    addresses = {ipaddress.IPv4Address(address) for address in everything}
    assert all(address in whole for address in addresses)
    assert not addresses & {whole.network_address, whole.broadcast_address}
    # What Toxiproxy takes as local are the links, and nothing but them.
    assert {ipaddress.IPv4Address(address) for address in links} == {
        address for address in addresses if address in upper
    }


def test_rows_and_columns_are_sources_and_nodes() -> None:
    assert SUBNET.cidr == "10.77.0.0/16"
    assert SUBNET.address("node-3") == "10.77.0.3"
    assert SUBNET.link_address("client", "node-2") == "10.77.128.2"
    assert SUBNET.link_address("node-3", "node-1") == "10.77.131.1"


def test_what_has_no_address_is_named() -> None:
    with pytest.raises(UsageError, match=r"no node 'node-9'\.\nDo: Nodes are: node-1, node-2"):
        SUBNET.address("node-9")
    with pytest.raises(UsageError, match="no node 'db'"):
        SUBNET.link_address("db", "node-1")
    with pytest.raises(UsageError, match="no link from node-1 to itself"):
        SUBNET.link_address("node-1", "node-1")


def test_candidates_are_private_different_and_not_routed_elsewhere() -> None:
    found = list(candidates(NODES, []))
    networks = {ipaddress.IPv4Network(subnet.cidr) for subnet in found}
    assert len(networks) == len(found) > 200
    assert all(network.is_private for network in networks)
    assert not any(network.overlaps(ipaddress.IPv4Network("172.17.0.0/16")) for network in networks)
    taken = [ipaddress.IPv4Network("10.0.0.0/9"), ipaddress.IPv4Network("10.200.3.0/24")]
    left = {subnet.prefix for subnet in candidates(NODES, taken)}
    assert left == {(10, n) for n in range(128, 251) if n != 200} | {
        (172, n) for n in range(20, 32)
    }
    assert list(candidates(NODES, [ipaddress.IPv4Network("0.0.0.0/0")])) == []


def test_two_clusters_begin_somewhere_else() -> None:
    firsts = {next(candidates(NODES, [])).prefix for _ in range(20)}
    assert len(firsts) > 1


def test_routes_are_read_without_the_default_one(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t00004D0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert [str(route) for route in routes_here(table)] == ["10.77.0.0/16", "192.168.0.0/24"]
    assert (10, 77) not in {subnet.prefix for subnet in candidates(NODES, routes_here(table))}
    assert routes_here(tmp_path / "none") == []
