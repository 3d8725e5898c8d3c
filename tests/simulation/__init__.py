"""Many A/B tests and much monitoring at once: how often they are wrong, and how long they take to be right."""
