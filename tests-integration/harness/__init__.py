"""What the system's tests stand on: processes, servers, a world to run them in, and an independent checker."""
