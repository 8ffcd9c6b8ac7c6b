"""How hypothesis draws examples: the same ones each time, or, with --hypothesis-profile=deep, new ones and many."""

from hypothesis import HealthCheck, settings

# Examples take unlike times on a busy machine, which says nothing about the code.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# Where CI is in the environment hypothesis derandomizes what has no parent, so both name theirs.
_DEFAULT = settings.get_profile("default")
settings.register_profile("quick", _DEFAULT, derandomize=True, max_examples=30, **_PATIENT)
settings.register_profile("deep", _DEFAULT, max_examples=100, print_blob=True, **_PATIENT)
settings.load_profile("quick")
