"""The systems under test, one folder each: how a node starts, its roles, its client."""
