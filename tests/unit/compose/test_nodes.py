"""From services to nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compose.model import Service
from harness.compose.nodes import entry_services, host_names, node_names, run_once, waves
from harness.errors import UsageError
from harness.runtime.spec import check_names


def services(*found: Service) -> dict[str, Service]:
    return {service.name: service for service in found}


def waiting(**needs: str) -> dict[str, Service]:
    """Services and the names of those that each waits for."""
    return services(
        *(
            Service(name, depends_on=dict.fromkeys(needed.split(), "service_started"))
            for name, needed in needs.items()
        )
    )


def test_names_of_nodes() -> None:
    found = node_names(
        services(
            Service("db"),
            Service("web", replicas=3),
            Service("My_App.v2"),
            Service("client"),
            Service("toxiproxy"),
        )
    )
    assert found == {
        "db": ("db",),
        "web": ("web-1", "web-2", "web-3"),
        "My_App.v2": ("my-app-v2",),
        "client": ("client-1",),
        "toxiproxy": ("toxiproxy-1",),
    }
    check_names([name for names in found.values() for name in names], 100)


@pytest.mark.parametrize(
    "both",
    [
        (Service("web", replicas=2), Service("web-1")),
        (Service("my_app"), Service("my-app")),
    ],
)
def test_two_nodes_cannot_have_one_name(both: tuple[Service, Service]) -> None:
    with pytest.raises(UsageError, match="would both be called"):
        node_names(services(*both))


def test_other_names_of_nodes() -> None:
    found = services(
        Service("web", replicas=2, aliases=("www", "db", "my_app"), links={"database": "db"}),
        Service("db", aliases=("postgres", "store", "localhost")),
        Service("my_app", aliases=("store",)),
    )
    nodes = node_names(found)
    common = {
        "web": ("web-1", "web-2"),
        "www": ("web-1", "web-2"),
        "my_app": ("my-app",),
        "postgres": ("db",),
        "store": ("db", "my-app"),
    }
    # A service has its name, whoever else would like to be called so.
    assert host_names(found, nodes, "db") == common
    assert host_names(found, nodes, "web") == {**common, "database": ("db",)}


def test_services_start_in_waves() -> None:
    found = waiting(web="db cache", proxy="web", db="", cache="", job="db")
    assert waves(found) == [["db", "cache"], ["web", "job"], ["proxy"]]


def test_services_that_wait_for_one_another_are_named() -> None:
    with pytest.raises(UsageError, match="wait for one another: b, c, b"):
        waves(waiting(a="b", b="c", c="b", d=""))


@given(st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8))
def test_every_service_starts_once_and_after_what_it_needs(needs: list[set[int]]) -> None:
    # Whoever needs only those before it can always be started.
    found = waiting(
        **{
            f"s{number}": " ".join(f"s{other}" for other in sorted(needed) if other < number)
            for number, needed in enumerate(needs)
        }
    )
    order = waves(found)
    assert sorted(name for wave in order for name in wave) == sorted(found)
    started: set[str] = set()
    before: set[str] = set()
    for wave in order:
        for name in wave:
            assert found[name].depends_on.keys() <= started
            # And not later than it could.
            assert wave is order[0] or found[name].depends_on.keys() & before
        before = set(wave)
        started |= before


def test_who_the_world_talks_to() -> None:
    chain = services(
        Service("proxy", published=True, ports=(80,), depends_on={"web": "service_started"}),
        Service("web", published=True, ports=(8000,), depends_on={"db": "service_started"}),
        Service("db", published=True, ports=(5432,)),
        Service("worker", depends_on={"db": "service_started"}),
    )
    assert entry_services(chain) == ("proxy",)
    assert entry_services(services(Service("web", ports=(80,)), Service("worker"))) == ("web",)
    assert entry_services(services(Service("one"), Service("two"))) == ("one", "two")


def test_what_works_for_a_published_service_is_not_what_the_world_talks_to() -> None:
    behind = services(
        Service("seed", depends_on={"web": "service_started"}),
        Service("web", depends_on={"migrate": "service_completed_successfully"}, published=True),
        Service("migrate", depends_on={"db": "service_started"}),
        Service("db", published=True),
    )
    for once in ((), ("migrate",), ("migrate", "seed")):
        assert entry_services(behind, once) == ("web",)
    assert entry_services(waiting(seed="web", web="db", db=""), ("seed",)) == ("web",)
    assert entry_services(waiting(seed="web", web="db", db="")) == ("seed",)


def test_what_is_run_once() -> None:
    found = services(
        Service("web", depends_on={"migrate": "service_completed_successfully"}),
        Service("migrate"),
        Service("seed"),
    )
    assert run_once(found) == ("migrate",)
    assert run_once(found, ["seed"]) == ("migrate", "seed")
