"""One attempt: from a claimed task to its recorded ending."""
