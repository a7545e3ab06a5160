"""The bus and the signals within one process: both ends share a `MemoryHub`."""
