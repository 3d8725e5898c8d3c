"""What shall happen next: pure functions from what was observed to one action. No I/O, no clock, no client."""
