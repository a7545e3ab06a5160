from task_runtime.testing import plain_environment, untouched_logging  # noqa: F401 # fixtures
