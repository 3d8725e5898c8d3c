from __future__ import annotations

import tests.property.profiles  # noqa: F401 - registers and loads the profile
