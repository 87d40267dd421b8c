"""The network between the nodes: every link is one Toxiproxy proxy, and can be disturbed.

`links` says what a link is, `effects` what can be done to one, `network` does it to many at once
and takes it back (`state` says what that changes), `netsplit` has the shapes of partitions, `probe`
asks through a link whether it works. `toxiproxy` (over `transport`) is the adapter to the server;
`sockets` looks at its connections, and `resets` ends those it would hang on.
Nothing here knows what a fault or a target is.
"""

from harness.network import netsplit
from harness.network.effects import (
    Bandwidth,
    Direction,
    Drop,
    Effect,
    Latency,
    LimitData,
    Reject,
    Reset,
    Slicer,
    SlowClose,
)
from harness.network.links import Door, Link, mesh
from harness.network.network import Network
from harness.network.probe import Answer, answer
from harness.network.state import LinkState
from harness.network.toxiproxy import Proxy, Toxic, Toxiproxy
from harness.network.transport import ToxiproxyGone, ToxiproxyHangs

__all__ = [
    "Answer",
    "Bandwidth",
    "Direction",
    "Door",
    "Drop",
    "Effect",
    "Latency",
    "LimitData",
    "Link",
    "LinkState",
    "Network",
    "Proxy",
    "Reject",
    "Reset",
    "Slicer",
    "SlowClose",
    "Toxic",
    "Toxiproxy",
    "ToxiproxyGone",
    "ToxiproxyHangs",
    "answer",
    "mesh",
    "netsplit",
]
