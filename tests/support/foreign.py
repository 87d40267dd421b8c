"""Small histories as others write them, with what is odd about each format. For tests only."""

from __future__ import annotations

from typing import Any

import orjson

TAB = "\t"

EDN = """\
; a comment, and a record of the nemesis, which is left out
#jepsen.history.Op{:index 0, :time 5, :process :nemesis, :type :info, :f :cut, :value {"n1" ["n2"]}}
#jepsen.history.Op{:index 1, :time 7, :process 0, :type :invoke, :f :txn,
                   :value [[:append 3 1] [:r :x nil]]}
#_ {:index 2 :process 0 :type :ok}
{:index 4 :time 9 :process 1 :type :invoke :f :read}
{:index 6 :time 11 :process 0 :type :ok :f :txn :value [[:append 3 1] [:r :x [1 2]]], :node "n1"}
{:index 7 :time 11 :process 1 :type :info :f :read :error [:timeout "none"]}
"""

JSON_LINES = [
    '{"type":"invoke","f":"cas","process":3,"time":4,"index":1,"value":[1,{"a":"}"}],"key":"k"}',
    '{"type":"info","f":"cut","process":"nemesis","time":5,"index":2}',
    '{"type":"fail","f":"cas","process":3,"time":6,"index":3,"error":"mismatch","node":"n2"}',
    '{"type":"invoke","process":"4","value":123456789012345678901234567890,"time":7,"index":4}',
]

LOG = f"""\
INFO  jepsen.core - Worker 3 starting
INFO  jepsen.util - 3{TAB}:invoke{TAB}:cas{TAB}[1 2]
INFO  jepsen.util - :nemesis{TAB}:info{TAB}:start{TAB}"Cut off {{:n1 #{{:n2}}}}"
INFO [2016-01-01 10:00:00,123] jepsen worker 4 - jepsen.util 4{TAB}:invoke{TAB}:read{TAB}nil
3{TAB}:fail{TAB}:cas{TAB}[1 2]
INFO  jepsen.util - 4{TAB}:fail{TAB}:read{TAB}:timed-out
INFO  jepsen.util - 5{TAB}:invoke{TAB}:cas{TAB}[3 4]
INFO  jepsen.util - 5{TAB}:fail{TAB}:cas{TAB}[3 4]{TAB}:not found
INFO  jepsen.util - 6{TAB}:invoke{TAB}:write{TAB}7
INFO  jepsen.util - 7{TAB}:invoke{TAB}:read{TAB}nil
INFO  jepsen.util - 6{TAB}:info{TAB}:write{TAB}:timed-out
INFO  jepsen.util - 7{TAB}:ok{TAB}:read{TAB}7
"""


def our_line(index: int, kind: str, **more: Any) -> str:
    """A line of our own history."""
    line = {"index": index, "time": index, "process": 0, "type": kind, "f": "read", "key": "x"}
    return orjson.dumps({**line, "value": None, **more}).decode() + "\n"
