"""For tests of code that calls the task service: a service in this process, which both clients can talk to."""

from task_client.testing._service import FakeService

__all__ = ["FakeService"]
