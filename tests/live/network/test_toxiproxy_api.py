"""The adapter against a real server: every endpoint, every refusal, and what it extends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from harness.network.toxiproxy import (
    ExistsError,
    InvalidError,
    NotFoundError,
    Toxiproxy,
    ToxiproxyError,
    add_toxic,
    remove_toxic,
    set_enabled,
    update_toxic,
)
from harness.network.transport import CONNECTIONS, Call, ToxiproxyGone
from tests.support.toxiproxy import PORT, Server, running_toxiproxy

pytestmark = pytest.mark.live

ODD_NAME = "node-1>node-2:peer %2F?#ü"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_toxiproxy() as running:
        yield running


@pytest.fixture
def api(server: Server) -> Iterator[Toxiproxy]:
    toxiproxy = Toxiproxy(server.host, server.port)
    yield toxiproxy
    toxiproxy.close()


def addresses(server: Server, number: int = 1) -> dict[str, str]:
    node = f"node-{number}"
    return {
        "listen": f"{server.addresses.link('client', node)}:{PORT}",
        "upstream": f"{server.addresses.node(node)}:{PORT}",
    }


def test_it_is_the_library_s_own_kind(api: Toxiproxy, server: Server) -> None:
    proxy = api.create(name="p", **addresses(server))
    toxic = proxy.add_toxic("latency", attributes={"latency": 5})
    assert isinstance(api, toxiproxy.Toxiproxy)
    assert isinstance(proxy, toxiproxy.Proxy)
    assert isinstance(toxic, toxiproxy.toxic.Toxic)


def test_proxies_are_created_listed_changed_and_destroyed(api: Toxiproxy, server: Server) -> None:
    assert api.proxies() == {}
    proxy = api.create(name=ODD_NAME, **addresses(server))
    assert proxy.enabled
    assert list(api.proxies()) == [ODD_NAME]
    found = api.get_proxy(ODD_NAME)
    assert found is not None
    assert found.listen == proxy.listen == addresses(server)["listen"]

    proxy.update(upstream="127.0.0.1:1")
    changed = api.get_proxy(ODD_NAME)
    assert changed is not None
    assert changed.upstream == proxy.upstream == "127.0.0.1:1"
    assert changed.listen == found.listen

    assert api.destroy(proxy)
    assert api.get_proxy(ODD_NAME) is None
    free = api.create("127.0.0.1:1", "free", enabled=False)
    assert not free.enabled
    api.destroy_all()
    assert api.proxies() == {}


def test_a_proxy_is_disabled_and_enabled(api: Toxiproxy, server: Server) -> None:
    proxy = api.create(name="p", **addresses(server))

    def enabled() -> bool:
        return bool(api.proxies()["p"].enabled)

    proxy.disable()
    assert not enabled()
    assert not proxy.enabled
    proxy.enable()
    assert enabled()
    with proxy.down():
        assert not enabled()
    assert enabled()


def test_toxics_are_added_listed_changed_and_destroyed(api: Toxiproxy, server: Server) -> None:
    proxy = api.create(name=ODD_NAME, **addresses(server))
    toxic = proxy.add_toxic(
        "latency", stream="upstream", name="slow>1:%2e", attributes={"latency": 5, "jitter": 1}
    )
    assert toxic.stream == "upstream"
    assert list(proxy.toxics()) == ["slow>1:%2e"]
    assert list(api.proxies()[ODD_NAME].last_toxics) == ["slow>1:%2e"]

    toxic.update({"latency": 7})
    assert toxic.attributes == {"latency": 7, "jitter": 1}
    proxy.update_toxic(toxic.name, {"jitter": 0}, toxicity=0.5)
    now = proxy.get_toxic(toxic.name)
    assert now is not None
    assert (now.attributes, now.toxicity) == ({"latency": 7, "jitter": 0}, 0.5)

    assert toxic.destroy()
    assert proxy.toxics() == {}
    assert proxy.get_toxic(toxic.name) is None
    assert proxy.add_toxic("timeout").name == "timeout_downstream"


def test_populate_creates_many_in_one_request_and_replaces(api: Toxiproxy, server: Server) -> None:
    wanted = [{"name": f"p{n}", **addresses(server, n)} for n in range(1, 21)]
    assert [proxy.name for proxy in api.populate(wanted)] == [f"p{n}" for n in range(1, 21)]
    proxy = api.proxies()["p1"]
    proxy.add_toxic("timeout")
    changed = [{**wanted[0], "upstream": "127.0.0.1:9"}, wanted[1]]
    api.populate(changed)
    assert api.proxies()["p1"].upstream == "127.0.0.1:9"
    assert api.proxies()["p1"].toxics() == {}
    assert len(api.proxies()) == 20
    assert api.populate([]) == []


def test_reset_removes_toxics_and_enables(api: Toxiproxy, server: Server) -> None:
    proxy = api.create(name="p", **addresses(server))
    proxy.add_toxic("timeout")
    proxy.disable()
    assert api.reset()
    now = api.proxies()["p"]
    assert now.enabled
    assert now.last_toxics == {}


def test_version_and_metrics(api: Toxiproxy) -> None:
    assert api.version()
    assert api.running()
    assert api.metrics() is None
    with running_toxiproxy("-proxy-metrics", "-runtime-metrics") as measured:
        one = Toxiproxy(measured.host, measured.port)
        assert "go_goroutines" in (one.metrics() or "")
        one.close()


def test_two_servers_can_be_used_side_by_side(api: Toxiproxy, server: Server) -> None:
    with running_toxiproxy() as second:
        other = Toxiproxy(second.host, second.port)
        api.create(name="here", **addresses(server))
        other.create(name="there", **addresses(second))
        assert list(api.proxies()) == ["here"]
        assert list(other.proxies()) == ["there"]
        other.update_api_consumer(server.host, server.port)
        assert list(other.proxies()) == ["here"]
        other.close()


Act = Callable[[Toxiproxy], Any]


@pytest.mark.parametrize(
    ("act", "kind", "library", "status", "title"),
    [
        (lambda a: a.call(Call("GET", "/proxies/x")), NotFoundError, NotFound, 404, "proxy not"),
        (
            lambda a: a.proxies()["p"].destroy_toxic("x"),
            NotFoundError,
            NotFound,
            404,
            "toxic not found",
        ),
        (
            lambda a: a.proxies()["p"].update_toxic("x", {}),
            NotFoundError,
            NotFound,
            404,
            "toxic not found",
        ),
        (lambda a: a.call(Call("GET", "/nothing")), NotFoundError, NotFound, 404, "404 page"),
        (lambda a: a.create("127.0.0.1:1", "p"), ExistsError, ProxyExists, 409, "already exists"),
        (
            lambda a: [a.proxies()["p"].add_toxic("timeout") for _ in range(2)],
            ExistsError,
            ProxyExists,
            409,
            "toxic already exists",
        ),
        (
            lambda a: a.proxies()["p"].add_toxic("gravity"),
            InvalidError,
            InvalidToxic,
            400,
            "invalid toxic type",
        ),
        (
            lambda a: a.proxies()["p"].add_toxic("timeout", stream="sideways"),
            InvalidError,
            InvalidToxic,
            400,
            "stream was invalid",
        ),
        (
            lambda a: a.proxies()["p"].add_toxic("latency", attributes={"latency": "much"}),
            InvalidError,
            InvalidToxic,
            400,
            "bad request body",
        ),
        (
            lambda a: a.call(Call("POST", "/proxies", "no object")),
            InvalidError,
            InvalidToxic,
            400,
            "bad request body",
        ),
        (
            lambda a: a.call(Call("POST", "/proxies", {"upstream": "127.0.0.1:1"})),
            InvalidError,
            InvalidToxic,
            400,
            "missing required field: name",
        ),
        (
            lambda a: a.populate([{"name": "q"}]),
            InvalidError,
            InvalidToxic,
            400,
            "upstream at proxy 1",
        ),
        (
            lambda a: a.create("127.0.0.1:1", "q", listen=a.proxies()["p"].listen),
            ToxiproxyError,
            ToxiproxyError,
            500,
            "address already in use",
        ),
    ],
)
def test_every_refusal_is_typed_and_whole(
    api: Toxiproxy,
    server: Server,
    act: Act,
    kind: type[Exception],
    library: type[Exception],
    status: int,
    title: str,
) -> None:
    api.create(name="p", **addresses(server))
    with pytest.raises(library) as caught:
        act(api)
    error = caught.value
    assert type(error) is kind
    assert error.status == status  # type: ignore[attr-defined]
    assert title in error.title  # type: ignore[attr-defined]
    assert error.body  # type: ignore[attr-defined]
    assert api.running(), "a refusal must not spoil the connection"


def test_a_method_that_is_not_known_is_refused(api: Toxiproxy) -> None:
    with pytest.raises(ToxiproxyError) as caught:
        api.call(Call("PUT", "/proxies"))
    assert caught.value.status == 405


def test_a_batch_gives_every_reply_in_the_order_of_its_calls(
    api: Toxiproxy, server: Server
) -> None:
    count = 300  # more than one window of every connection
    names = [f"p{n}" for n in range(1, 11)]
    api.populate({"name": name, **addresses(server, n + 1)} for n, name in enumerate(names))
    calls = [
        add_toxic(names[n % 10], f"t{n}", "latency", "upstream", {"latency": n})
        for n in range(count)
    ]
    replies = api.batch(calls)
    assert [reply.json()["name"] for reply in replies] == [f"t{n}" for n in range(count)]
    assert len(api._transport._idle) == CONNECTIONS

    mixed = [
        update_toxic("p1", "t0", {"latency": 9}),
        remove_toxic("p1", "t0"),
        remove_toxic("p1", "t0"),
        set_enabled("p2", False),
        remove_toxic("nobody", "t"),
    ]
    assert [reply.status for reply in api.batch(mixed)] == [200, 204, 404, 200, 404]
    assert not api.proxies()["p2"].enabled
    assert len(api.proxies()["p1"].last_toxics) == count // 10 - 1


def test_a_server_that_was_killed_is_gone(api: Toxiproxy, server: Server) -> None:
    assert api.running()
    server.kill()
    with pytest.raises(ToxiproxyGone):
        api.proxies()
    assert not api.running()
