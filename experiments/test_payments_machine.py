"""payments charges each key once, under whatever rules and faults Hypothesis combines.

Its charges are a bundle: later rules repeat them, mostly on another node, and ask for them.
"""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule

from harness import faults, milliseconds
from harness.check import idempotent, linearizable
from harness.machine import ClusterMachine
from targets.payments import ChargeModel, Payments, PaymentsClient
from targets.payments.workload import FINAL


class Charges(ClusterMachine):
    """Charges, the same charges again, and questions about them, by two clients on each node."""

    target = Payments(nodes=3)
    client = PaymentsClient
    op_timeout = milliseconds(1500)
    final = FINAL
    faults = (
        faults.kill_worker(),
        faults.kill(),
        faults.kill(who="store"),
        faults.netsplit("isolate"),
        faults.latency(milliseconds(60), who="provider"),
    )

    charges = Bundle("charges")

    @rule(target=charges, amount=st.integers(1, 1000))
    def charge(self, amount):
        key = f"k{self.fresh()}"
        self.begin("charge", key, "account", amount)
        return key, amount

    @rule(charge=charges)
    def charge_again(self, charge):
        key, amount = charge
        self.begin("charge", key, "account", amount)

    @rule(charge=charges)
    def ask(self, charge):
        key, _ = charge
        self.begin("status", key)

    def check(self):
        self.expect(idempotent(replays=0))
        self.expect(idempotent(effects="notified", replays=0))
        self.expect(linearizable(ChargeModel()))


test_charges = Charges.experiment(
    examples=5,
    steps=40,
    catches={"no-idempotency-key": "idempotent", "key-on-one-node": "idempotent"},
    may_catch={
        "key-forgotten-early": "linearizable",
        "effect-before-record": "linearizable",
        "keys-not-durable": "linearizable",
        "stale-ledger-read": "linearizable",
        "breaker-never-closes": "unsteady",
    },
)
