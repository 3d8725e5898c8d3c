"""Is the candidate better: where numbers come from, and what they say. Statistics are pure; only sources do I/O."""
