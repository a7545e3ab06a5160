"""The command `task-client`: what operators and scripts type. Needs the extra `cli` of task-client.

It is a package beside `task_client` since importing that one takes longer than `--help` should: modules import the
client, and pydantic and httpx2 with it, in the functions that talk to a service.
"""
