#!/usr/bin/env python3
"""Writes deploy/secrets/ for compose.production.yml: a password for each user, and the addresses made of them.

Run once: `python3 deploy/make-secrets.py`; it changes nothing where the folder is there. To change the passwords,
remove it, run this again, and `up -d --force-recreate`. Needs Python alone.

What each user of RabbitMQ may do stands here (configure, write, read: patterns of names), what each role of PostgreSQL
may do in postgres/roles.sh.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "secrets"

TASKS_AND_SIGNALS = r"^(tasks(\..+)?|signals|amq\.gen-.+)$"
RIGHTS = {
    # It sends signals, and neither sees nor publishes a task.
    "task_api": {"configure": "^signals$", "write": "^signals$", "read": "^$"},
    # amq.default: what is rejected goes to tasks.dead through the default exchange.
    "task_worker": {
        "configure": TASKS_AND_SIGNALS,
        "write": r"^(tasks(\..+)?|signals|amq\.gen-.+|amq\.default)$",
        "read": TASKS_AND_SIGNALS,
    },
}


def main() -> None:
    """Write them all."""
    if FOLDER.exists():
        sys.exit(f"{FOLDER} is there already: nothing was changed")
    FOLDER.mkdir(mode=0o700)
    passwords = {name: secrets.token_urlsafe(24) for name in ("postgres", "task_migrator", "task_api", "task_worker")}
    for name, password in passwords.items():
        write(f"{name}_password", password)
    for role in ("task_migrator", "task_api", "task_worker"):
        write(f"{role}_database_url", f"postgresql://{role}:{passwords[role]}@db:5432/tasks")
    broker_passwords = {user: secrets.token_urlsafe(24) for user in RIGHTS}
    for user, password in broker_passwords.items():
        write(f"{user}_broker_url", f"amqp://{user}:{password}@rabbitmq:5672/")
    write("rabbitmq_definitions.json", json.dumps(definitions(broker_passwords), indent=2))
    sys.stderr.write(f"written: {FOLDER}\n")


def write(name: str, text: str) -> None:
    """Write a file that any user of a container may read; the folder lets nobody else on this machine in."""
    path = FOLDER / name
    path.write_text(text)
    path.chmod(0o444)


def definitions(passwords: dict[str, str]) -> dict[str, object]:
    """Return what RabbitMQ loads when it starts: https://www.rabbitmq.com/docs/definitions."""
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": user,
                "password_hash": hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for user, password in passwords.items()
        ],
        "permissions": [{"user": user, "vhost": "/", **rights} for user, rights in RIGHTS.items()],
    }


def hashed(password: str) -> str:
    """Return a password as RabbitMQ keeps it: https://www.rabbitmq.com/docs/passwords#computing-password-hash."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


if __name__ == "__main__":
    main()
