"""The faults: reversible disturbances of a cluster.

Write `faults.kill(who="leader", every=seconds(5))` in an experiment. One file each; a new one
subclasses `Fault`, `NodeFault` or `LinkFault`.
"""

from harness.faults._bandwidth import Bandwidth as bandwidth  # noqa: N813
from harness.faults._base import Fault, Members, NodeFault, Occurrence, Proof, from_json
from harness.faults._clock import ClockSkew as clock_skew  # noqa: N813
from harness.faults._cpu import Cpu as cpu  # noqa: N813
from harness.faults._crash_loop import CrashLoop as crash_loop  # noqa: N813
from harness.faults._disk import DiskFull as disk_full  # noqa: N813
from harness.faults._kill import kill
from harness.faults._kill_worker import KillWorker as kill_worker  # noqa: N813
from harness.faults._latency import Latency as latency  # noqa: N813
from harness.faults._links import LinkFault
from harness.faults._memory import Memory as memory  # noqa: N813
from harness.faults._names import Names as names  # noqa: N813
from harness.faults._netsplit import Netsplit as netsplit  # noqa: N813
from harness.faults._packets import PacketLoss as packet_loss  # noqa: N813
from harness.faults._pause import Pause as pause  # noqa: N813
from harness.faults._reset import Reset as reset  # noqa: N813
from harness.faults._restart import Restart as restart  # noqa: N813
from harness.faults._schedules import mixed, staggered
from harness.faults._slow_close import SlowClose as slow_close  # noqa: N813
from harness.faults._stop import stop

__all__ = [
    "Fault",
    "LinkFault",
    "Members",
    "NodeFault",
    "Occurrence",
    "Proof",
    "bandwidth",
    "clock_skew",
    "cpu",
    "crash_loop",
    "disk_full",
    "from_json",
    "kill",
    "kill_worker",
    "latency",
    "memory",
    "mixed",
    "names",
    "netsplit",
    "packet_loss",
    "pause",
    "reset",
    "restart",
    "slow_close",
    "staggered",
    "stop",
]
