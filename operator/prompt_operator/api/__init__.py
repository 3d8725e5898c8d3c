"""What users write and read: the three kinds, content and its hash, conditions and reasons.

Nothing here does I/O, and nothing here decides.
"""
