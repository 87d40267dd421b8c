"""A full mesh of framed TCP links: messages at most once and in order, requests with answers.

Every node dials every other one, so that there are two connections between two nodes: who dialled
sends its messages and requests, the acceptor answers. The first frame is a greeting: who I am, whom
I mean, which start of me this is, and how many times I have dialled. An acceptor that is greeted
anew by a node drops the connection that it had from it, so that nothing old can arrive after
something new.

A link is up between the welcome and the loss of its connection. The dialler pings, and gives a
connection up when nothing was heard for `Timing.dead_s`; so bytes that vanish on either way take
down the links of both directions, and a node that only hears, or is only heard, knows it.

`contract` says what others may rely on, `link` is the side that dials, `acceptor` the one that
listens, `wire` what they say to each other, and `node` puts them together.
"""

from .contract import SCHEMA, Handler, Messenger, Timing, Unreachable
from .node import Mesh
from .wire import PROBE

__all__ = ["PROBE", "SCHEMA", "Handler", "Mesh", "Messenger", "Timing", "Unreachable"]
