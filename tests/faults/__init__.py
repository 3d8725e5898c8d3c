"""Crash and fault tests: the operator behind a proxy that kills it, refuses it, or makes it deaf."""
