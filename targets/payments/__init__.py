"""payments, a service of our own with four real dependencies: breakers, bulkheads, idempotency.

Three members charge accounts through a provider and stand in for each other; the README beside this
file says what happens when each dependency fails. Thirteen mutants are wrong in one way each.
"""

from targets.payments.client import PaymentsClient
from targets.payments.model import ChargeModel
from targets.payments.target import Payments
from targets.payments.workload import payments_workload

__all__ = ["ChargeModel", "Payments", "PaymentsClient", "payments_workload"]
