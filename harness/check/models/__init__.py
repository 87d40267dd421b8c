"""Models: what a sound system may answer, one op at a time.

A model says where an object begins and what each op makes of its state. The search in
`harness.check.search` finds out whether some order of the ops satisfies it. Those that have names
are in `NAMES`; `as_model` says what it takes to describe another kind of object.
"""

from harness.check.models._model import INCONSISTENT, UNSEEN, Entry, Model, UnfitOpError
from harness.check.models.catalogue import NAMES, as_model, named
from harness.check.models.counter import Counter, added
from harness.check.models.kv import KeyValue
from harness.check.models.locks import FencedMutex, Mutex, OwnedMutex
from harness.check.models.multi_register import MultiRegister
from harness.check.models.own import OwnModel
from harness.check.models.queues import FifoQueue, Stack, UnorderedQueue
from harness.check.models.registers import CasRegister, Register, expects, writes
from harness.check.models.sets import Set

__all__ = [
    "INCONSISTENT",
    "NAMES",
    "UNSEEN",
    "CasRegister",
    "Counter",
    "Entry",
    "FencedMutex",
    "FifoQueue",
    "KeyValue",
    "Model",
    "MultiRegister",
    "Mutex",
    "OwnModel",
    "OwnedMutex",
    "Register",
    "Set",
    "Stack",
    "UnfitOpError",
    "UnorderedQueue",
    "added",
    "as_model",
    "expects",
    "named",
    "writes",
]
