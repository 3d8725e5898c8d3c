"""How much Hypothesis tries: the same few hundred cases every time, or many new ones (HYPOTHESIS_PROFILE=big or search)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_COMMON = {
    "deadline": None,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much],
}
settings.register_profile("default", derandomize=True, max_examples=50, **_COMMON)
settings.register_profile("big", max_examples=5000, **_COMMON)
# Finds a failure without the minutes it can take to make it small.
settings.register_profile("search", max_examples=5000, phases=[Phase.generate], **_COMMON)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")
settings.load_profile(PROFILE)

#: Examples of the state machines, which cost more than a plain property does.
MACHINE_EXAMPLES = 60 if PROFILE == "default" else 5000
