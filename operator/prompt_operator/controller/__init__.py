"""Observe and act: watches, the store, the work queue, and the writes that decisions ask for."""
