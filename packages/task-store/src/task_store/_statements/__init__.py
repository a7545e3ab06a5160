"""All SQL of the running system, one file for each need. Guards come from `transitions` alone."""
