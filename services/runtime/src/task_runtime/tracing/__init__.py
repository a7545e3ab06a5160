"""Traces of OpenTelemetry. Only `otel` imports its packages (the extra `otel`), and only where tracing is on."""
