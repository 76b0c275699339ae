"""What all tests share."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tools.versitygw"]

# A busy machine is no reason to fail: no test is judged by its time.
settings.register_profile("asrtune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asrtune")
