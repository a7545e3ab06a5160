#!/usr/bin/env python3
"""Writes deploy/secrets/ for compose.production.yml: a password for each user, addresses made of them, two keys.

`python3 deploy/make-secrets.py` writes what is missing, and anew what goes with that: a password and the addresses that
hold it. The rest stays. deploy/README.md says how to change a password. Needs Python alone.

What each user of RabbitMQ may do stands here (configure, write, read: patterns of names), what each role of PostgreSQL
may do in postgres/roles.sh.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import string
import sys
import zlib
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
FOLDER = DEPLOY / "secrets"
MOUNTED = ("postgres/roles.sh", "rabbitmq/rabbitmq.conf")

KEYS = ("operator_api_key", "task_worker_api_key")
"""Of the API; what each may do stands in compose.production.yml, which stores them."""
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
ROLES = ("task_migrator", "task_api", "task_worker")
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
    """Write what is missing; what belongs together is written together."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    missing = {
        **_missing({"postgres_password": new_password()}),
        **{name: text for role in ROLES for name, text in _missing(database_access(role)).items()},
        **_missing(broker_access()),
        **{name: text for key in KEYS for name, text in _missing({key: new_key()}).items()},
    }
    replaced = [name for name in missing if (FOLDER / name).exists()]
    for name in replaced:  # all of them first: killed in between, the next run finds that something is missing
        (FOLDER / name).unlink()
    for name, text in missing.items():
        write(name, text)
    for name in MOUNTED:  # read by users of containers; a strict umask made them the cloner's alone
        (DEPLOY / name).chmod((DEPLOY / name).stat().st_mode | 0o044)
    sys.stderr.write(f"written to {FOLDER}: {', '.join(missing) or 'nothing, it is all there'}\n")
    if replaced:
        sys.stderr.write(f"replaced: {', '.join(replaced)}; now `up -d --force-recreate`\n")


def _missing(group: dict[str, str]) -> dict[str, str]:
    """Return all of a group, unless all of it is there."""
    return {} if all((FOLDER / name).exists() for name in group) else group


def database_access(role: str) -> dict[str, str]:
    """Return the files of a role of PostgreSQL."""
    password = new_password()
    url = f"postgresql://{role}:{password}@db:5432/tasks"
    return {f"{role}_password": password, f"{role}_database_url": url}


def broker_access() -> dict[str, str]:
    """Return the files of the users of RabbitMQ."""
    passwords = {user: new_password() for user in RIGHTS}
    urls = {f"{user}_broker_url": f"amqp://{user}:{password}@rabbitmq:5672/" for user, password in passwords.items()}
    return {**urls, "rabbitmq_definitions.json": json.dumps(definitions(passwords), indent=2)}


def new_password() -> str:
    """Return a password that needs no escape in an address."""
    return secrets.token_urlsafe(24)


def new_key() -> str:
    """Return a key of the API: an id, 32 random bytes, and a checksum of both by which typing errors are found."""
    key_id = "".join(secrets.choice(DIGITS) for _ in range(12))
    body = f"ts_{key_id}_{to_base_62(int.from_bytes(secrets.token_bytes(32), 'big'), 43)}"
    return body + to_base_62(zlib.crc32(body.encode()), 6)


def to_base_62(number: int, chars: int) -> str:
    """Return a number in so many digits, the greatest first."""
    digits = ""
    for _ in range(chars):
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits


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
