"""What every process of the task service needs: settings, logs, supervision, signals, exit codes.

A process reads its settings (`read_settings`), runs its main coroutine (`run_process`), prints what it is and uses
(`start_block`), restarts its loops when they fail (`Supervisor`), stops at a signal (`ShutdownSignals`) and ends
(`exit_process`). Code of users that it runs cancels no tasks but its own (`owned_by`).
"""

from task_runtime.addresses import IN_PROCESS_BROKER, BrokerUrl, DatabaseUrl, is_loopback
from task_runtime.banner import start_block
from task_runtime.entrypoint import run_process
from task_runtime.environment import read_settings, shared_startup_warnings, unknown_variables, variable_names
from task_runtime.exits import ExitCode, Misconfigured
from task_runtime.forks import forks_end_here
from task_runtime.leaving import exit_process, leave_process, leave_within
from task_runtime.log_context import current_log_fields, log_with
from task_runtime.logs import LogFormat, LogLevel, configure_logging, get_logger
from task_runtime.metrics.meter import NO_METER, Batched, Meter, SlotCounts, WorkerState
from task_runtime.metrics.opening import open_metrics
from task_runtime.own_host import host_name
from task_runtime.redaction import safe_text, safe_url
from task_runtime.settings import ProcessSettings, QueueNames, is_set
from task_runtime.signals import ShutdownSignals
from task_runtime.supervisor import LoopKeepsDyingError, RestartPolicy, Supervisor
from task_runtime.task_guard import NotYourTaskError, owned_by, owner_of, start_task
from task_runtime.tracebacks import safe_traceback
from task_runtime.tracing.opening import open_tracing
from task_runtime.tracing.tracer import NO_TRACER, AttemptSpan, TracedAttempt, Tracer
from task_runtime.versions import version_printer

__all__ = [
    "IN_PROCESS_BROKER",
    "NO_METER",
    "NO_TRACER",
    "AttemptSpan",
    "Batched",
    "BrokerUrl",
    "DatabaseUrl",
    "ExitCode",
    "LogFormat",
    "LogLevel",
    "LoopKeepsDyingError",
    "Meter",
    "Misconfigured",
    "NotYourTaskError",
    "ProcessSettings",
    "QueueNames",
    "RestartPolicy",
    "ShutdownSignals",
    "SlotCounts",
    "Supervisor",
    "TracedAttempt",
    "Tracer",
    "WorkerState",
    "configure_logging",
    "current_log_fields",
    "exit_process",
    "forks_end_here",
    "get_logger",
    "host_name",
    "is_loopback",
    "is_set",
    "leave_process",
    "leave_within",
    "log_with",
    "open_metrics",
    "open_tracing",
    "owned_by",
    "owner_of",
    "read_settings",
    "run_process",
    "safe_text",
    "safe_traceback",
    "safe_url",
    "shared_startup_warnings",
    "start_block",
    "start_task",
    "unknown_variables",
    "variable_names",
    "version_printer",
]
