"""One file per operation: eager reference above, fast path below."""
