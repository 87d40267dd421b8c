"""What the service depends on: the provider, notifications, analytics and the store of keys.

Each is one process. `serve` runs any of them, `routes` says what it answers; `keys` and `ledger`
are what they keep, in a `database`.
"""
