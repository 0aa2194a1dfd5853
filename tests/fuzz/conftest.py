"""How long to look: a short while in CI, for as long as it is told by `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "0")) or 100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
if os.environ.get("FUZZ_EXAMPLES"):
    settings.load_profile("fuzz")
