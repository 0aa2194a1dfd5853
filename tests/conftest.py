"""How Hypothesis looks in all tests: however slow the machine is, no example is a failure for having taken long."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):  # there Hypothesis takes its own profile: the same, and with the same examples each time
    settings.load_profile("steady")
