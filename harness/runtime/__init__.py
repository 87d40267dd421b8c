"""Where nodes run.

A runtime starts a cluster's nodes, gives each an address and each link a place to listen, kills,
stops, pauses and resumes them, and leaves nothing behind. `process.ProcessRuntime` runs them as
plain processes of this machine. Nothing above this package knows which runtime it has: `spec`
holds what all of them share.
"""

from harness.runtime.spec import CLIENT, NodeExit, NodeSpec, Runtime, State

__all__ = ["CLIENT", "NodeExit", "NodeSpec", "Runtime", "State"]
