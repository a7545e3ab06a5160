"""Who may do what: keys, the scopes of the calls, and what open answers do when a key is revoked."""
