"""Where the numbers of metrics come from: Prometheus, an HTTP endpoint, a Job. The only part of evaluation with I/O."""
