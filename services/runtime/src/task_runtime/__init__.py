"""What every process of the task service needs: settings, logs, supervision, signals."""
