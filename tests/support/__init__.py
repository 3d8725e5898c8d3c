"""What tests of the whole are written with: a user with kubectl, the operator as a process, and waiting."""
