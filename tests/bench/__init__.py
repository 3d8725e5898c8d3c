"""What the operator costs, against a bare client that does the same writes and nothing else."""
