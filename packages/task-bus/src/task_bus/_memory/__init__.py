"""The bus and the signals within one process."""
