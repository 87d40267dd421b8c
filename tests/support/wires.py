"""A small TCP proxy in this process, for tests of what happens to connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self


class Wire:
    """Passes bytes on to a port of this machine, and may be told to lose those of either way."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.loses_there = False
        """Bytes from whoever dialled vanish."""
        self.loses_back = False
        """Bytes to whoever dialled vanish."""
        self.change_there: Callable[[bytes], bytes] = lambda data: data
        self.change_back: Callable[[bytes], bytes] = lambda data: data
        """Done to the bytes of that way."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        while self._connections:
            self.reset()
            await asyncio.wait(self._connections, timeout=0.01)

    def reset(self) -> None:
        """End all connections."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            back, onward = await asyncio.open_connection("127.0.0.1", self._to_port)
            self._writers.add(onward)
            ways = [
                asyncio.create_task(self._pass(reader, onward, there=True)),
                asyncio.create_task(self._pass(back, writer, there=False)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # nobody listens: whoever dialled sees its connection end
        finally:
            for one in (writer, onward):
                if one is not None:
                    one.transport.abort()
                    self._writers.discard(one)
            self._connections.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if there and not self.loses_there:
                    writer.write(self.change_there(data))
                elif not there and not self.loses_back:
                    writer.write(self.change_back(data))
                await writer.drain()


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true answer of `condition`, which is asked again and again."""
    async with asyncio.timeout(timeout_s):
        while not (answer := condition()):
            await asyncio.sleep(0.002)
    return answer


def on_loop(work: Callable[[], Coroutine[Any, Any, None]], timeout_s: float = 20.0) -> None:
    """Run one test; what it leaves behind in the loop fails it."""

    async def whole() -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, complaint: complaints.append(complaint)
        )
        async with asyncio.timeout(timeout_s):
            await work()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        assert not complaints, complaints

    asyncio.run(whole())
