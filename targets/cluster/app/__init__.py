"""The service: one package, which knows nothing of the harness.

    api ──► ownership ──► registry (delta CRDT, replicated over the mesh)
     │          ├──► runner     the workers that truly run here
     │          └──► conflicts  the journal of claims that met
     ├──► topics     publish and read, repaired after gaps
     └──► limiters   strict and approximate (`primitives.limiter`)

`node` puts them together; what they stand on (mesh, membership, CRDTs, election, limiters, PubSub)
is the package `primitives`.
"""
