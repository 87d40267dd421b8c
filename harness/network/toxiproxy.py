"""toxiproxy-python, extended: a server per instance, deadlines, whole errors, many calls at once.

`Toxiproxy`, `Proxy` and `Toxic` can be used wherever the library's own can. They add what it
lacks: each server has its own host and port, calls end by a deadline, an error answer keeps its
status, title and body, proxies and toxics can be changed, `populate` is one request, and `batch`
carries out many calls at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import orjson
import toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.toxic import Toxic as LibraryToxic

from harness.errors import FaultError
from harness.network.transport import Call, Reply, ToxiproxyGone, ToxiproxyHangs, Transport

DEADLINE_S = 3.0
"""What one call, or one batch, may take. Healthy ones take milliseconds, or what a `reset_peer`
toxic waits: in the harness a second at most, in each direction."""


class ToxiproxyError(FaultError):
    """Toxiproxy said no. `status`, `title` and `body` are its whole answer."""

    status = 0
    title = ""
    body = b""

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), self.__dict__)


class NotFoundError(ToxiproxyError, NotFound):  # type: ignore[misc]  # the library is untyped
    """404: no such proxy or toxic."""


class ExistsError(ToxiproxyError, ProxyExists):  # type: ignore[misc]
    """409: a proxy or toxic of that name exists."""


class InvalidError(ToxiproxyError, InvalidToxic):  # type: ignore[misc]
    """400: the request, the toxic's type or its stream is not valid."""


class Toxiproxy(toxiproxy.Toxiproxy):  # type: ignore[misc]
    """The server whose API is at `host` and `port`.

    Every method raises a `ToxiproxyError` if the server refuses, `ToxiproxyHangs` after
    `deadline_s` seconds and `ToxiproxyGone` if nobody answers. Threads may share an instance.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8474, *, deadline_s: float = DEADLINE_S
    ) -> None:
        self.deadline_s = deadline_s
        self._transport = Transport(host, port)

    def proxies(self) -> dict[str, Proxy]:
        """All proxies by name, with their toxics as of now. One request."""
        return {
            name: Proxy(self, **fields)
            for name, fields in self.call(Call("GET", "/proxies")).json().items()
        }

    def get_proxy(self, proxy_name: str) -> Proxy | None:
        """The proxy of that name, or None."""
        try:
            return Proxy(self, **self.call(Call("GET", proxy_path(proxy_name))).json())
        except NotFoundError:
            return None

    def create(
        self,
        upstream: str,
        name: str,
        listen: str | None = None,
        enabled: bool | None = None,
    ) -> Proxy:
        """A new proxy; it listens on a free port of 127.0.0.1 if `listen` is not given."""
        body: dict[str, Any] = {
            "name": name,
            "upstream": upstream,
            "listen": "127.0.0.1:0" if listen is None else listen,
        }
        if enabled is not None:
            body["enabled"] = enabled
        return Proxy(self, **self.call(Call("POST", "/proxies", body)).json())

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> list[Proxy]:
        """Create many proxies in one request; those that exist and differ are replaced.

        If one of them fails, those before it stay.
        """
        answer = self.call(Call("POST", "/populate", [dict(proxy) for proxy in proxies])).json()
        return [Proxy(self, **fields) for fields in answer["proxies"] or ()]

    def reset(self) -> bool:
        """Enable all proxies and remove all toxics."""
        return self.call(Call("POST", "/reset")).ok

    def version(self) -> str:
        """The server's version. Builds from source without a flag say `git`."""
        return str(self.call(Call("GET", "/version")).json()["version"])

    def metrics(self) -> str | None:
        """Prometheus metrics, or None if the server was started without any."""
        try:
            return self.call(Call("GET", "/metrics")).body.decode()
        except NotFoundError:
            return None

    def running(self) -> bool:
        """Whether the API answers within the deadline."""
        try:
            self.version()
        except (ToxiproxyGone, ToxiproxyHangs, ToxiproxyError):
            return False
        return True

    def update_api_consumer(self, host: str, port: int) -> None:
        """From now on, talk to the server at `host` and `port`, without effect on others."""
        self._transport.close()
        self._transport = Transport(host, port)

    def close(self) -> None:
        """Close the connections kept for later calls. The server and its proxies stay."""
        self._transport.close()

    def call(self, call: Call) -> Reply:
        """The reply to one call, if it is a good one."""
        reply = self._transport.call(call, self.deadline_s)
        if not reply.ok:
            refuse(call, reply)
        return reply

    def batch(self, calls: Sequence[Call], deadline_s: float | None = None) -> list[Reply]:
        """The replies to many calls at once, good and bad ones, in the order of the calls.

        Calls of one `lane` (those made by the functions of this module have their proxy's) are
        carried out in order. Raises only if not all were answered.
        """
        return self._transport.batch(calls, self.deadline_s if deadline_s is None else deadline_s)


class Proxy(toxiproxy.Proxy):  # type: ignore[misc]
    """A proxy of `server`, as it was when it was asked for."""

    def __init__(self, server: Toxiproxy, **fields: Any) -> None:
        super().__init__(**fields)
        self._server = server
        self._last_toxics: Sequence[Mapping[str, Any]] = fields.get("toxics") or ()

    @property
    def last_toxics(self) -> dict[str, Toxic]:
        """The toxics it had when it was asked for: no further request."""
        return {fields["name"]: Toxic(self, **fields) for fields in self._last_toxics}

    def toxics(self) -> dict[str, Toxic]:
        """The toxics it has now, by name."""
        found = self._server.call(Call("GET", proxy_path(self.name) + "/toxics")).json()
        return {fields["name"]: Toxic(self, **fields) for fields in found}

    def get_toxic(self, toxic_name: str) -> Toxic | None:
        """The toxic of that name, or None."""
        path = toxic_path(self.name, toxic_name)
        try:
            return Toxic(self, **self._server.call(Call("GET", path)).json())
        except NotFoundError:
            return None

    def add_toxic(
        self,
        type: str,
        stream: str = "downstream",
        name: str | None = None,
        toxicity: float = 1.0,
        attributes: Mapping[str, Any] | None = None,
    ) -> Toxic:
        """A new toxic at the end of its stream's chain, called `<type>_<stream>` by default."""
        name = f"{type}_{stream}" if name is None else name
        call = add_toxic(self.name, name, type, stream, attributes or {}, toxicity)
        return Toxic(self, **self._server.call(call).json())

    def update_toxic(
        self, toxic_name: str, attributes: Mapping[str, Any], toxicity: float | None = None
    ) -> Toxic:
        """Change some attributes of a toxic, and its toxicity; the others stay."""
        call = update_toxic(self.name, toxic_name, attributes, toxicity)
        return Toxic(self, **self._server.call(call).json())

    def destroy_toxic(self, toxic_name: str) -> bool:
        """Remove a toxic."""
        return self._server.call(remove_toxic(self.name, toxic_name)).ok

    def update(
        self,
        listen: str | None = None,
        upstream: str | None = None,
        enabled: bool | None = None,
    ) -> None:
        """Change what is given. A new address, or disabling, ends all connections."""
        wanted = {"listen": listen, "upstream": upstream, "enabled": enabled}
        body = {name: value for name, value in wanted.items() if value is not None}
        fields = self._server.call(Call("PATCH", proxy_path(self.name), body)).json()
        self.listen = fields["listen"]
        self.upstream = fields["upstream"]
        self.enabled = fields["enabled"]

    def enable(self) -> None:
        """Listen again."""
        self.update(enabled=True)

    def disable(self) -> None:
        """End all connections and stop listening."""
        self.update(enabled=False)

    def destroy(self) -> bool:
        """End all connections and remove the proxy."""
        return self._server.call(remove_proxy(self.name)).ok


class Toxic(LibraryToxic):  # type: ignore[misc]
    """A toxic of `proxy`, as it was when it was asked for."""

    attributes: Mapping[str, Any]
    toxicity: float

    def __init__(self, proxy: Proxy, **fields: Any) -> None:
        super().__init__(**fields)
        self._proxy = proxy

    def update(self, attributes: Mapping[str, Any], toxicity: float | None = None) -> None:
        """Change some of its attributes, and its toxicity."""
        now = self._proxy.update_toxic(self.name, attributes, toxicity)
        self.attributes = now.attributes
        self.toxicity = now.toxicity

    def destroy(self) -> bool:
        """Remove it."""
        return self._proxy.destroy_toxic(self.name)


# Calls for `batch`


def add_proxy(fields: Mapping[str, Any]) -> Call:
    """The call that creates a proxy; `fields` are at least its name and its upstream."""
    return Call("POST", "/proxies", dict(fields), lane=fields["name"])


def add_toxic(
    proxy: str,
    name: str,
    type: str,
    stream: str,
    attributes: Mapping[str, Any],
    toxicity: float = 1.0,
) -> Call:
    """The call that adds a toxic."""
    body = {
        "name": name,
        "type": type,
        "stream": stream,
        "toxicity": toxicity,
        "attributes": dict(attributes),
    }
    return Call("POST", proxy_path(proxy) + "/toxics", body, lane=proxy)


def update_toxic(
    proxy: str, name: str, attributes: Mapping[str, Any], toxicity: float | None = None
) -> Call:
    """The call that changes a toxic."""
    body: dict[str, Any] = {"attributes": dict(attributes)}
    if toxicity is not None:
        body["toxicity"] = toxicity
    return Call("PATCH", toxic_path(proxy, name), body, lane=proxy)


def remove_toxic(proxy: str, name: str) -> Call:
    """The call that removes a toxic."""
    return Call("DELETE", toxic_path(proxy, name), lane=proxy)


def set_enabled(proxy: str, enabled: bool) -> Call:
    """The call that makes a proxy listen, or stop listening and end its connections."""
    return Call("PATCH", proxy_path(proxy), {"enabled": enabled}, lane=proxy)


def remove_proxy(proxy: str) -> Call:
    """The call that removes a proxy."""
    return Call("DELETE", proxy_path(proxy), lane=proxy)


def proxy_path(proxy: str) -> str:
    return "/proxies/" + quote(proxy, safe="")


def toxic_path(proxy: str, toxic: str) -> str:
    return f"{proxy_path(proxy)}/toxics/{quote(toxic, safe='')}"


def refuse(call: Call, reply: Reply) -> NoReturn:
    """Raise what a bad reply means."""
    try:
        title = str(reply.json()["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        title = reply.body.decode(errors="replace").strip()
    if reply.status == 503:
        # Its own limit for one call, 25 s, shorter than the deadline that was given.
        raise ToxiproxyHangs(f"Toxiproxy gave up on {call.method} {call.path}.", why=title or None)
    kinds: dict[int, type[ToxiproxyError]] = {
        400: InvalidError,
        404: NotFoundError,
        409: ExistsError,
    }
    error = kinds.get(reply.status, ToxiproxyError)(
        f"Toxiproxy refused {call.method} {call.path}: {title or 'no reason given'} "
        f"(status {reply.status})."
    )
    error.status, error.title, error.body = reply.status, title, reply.body
    raise error
