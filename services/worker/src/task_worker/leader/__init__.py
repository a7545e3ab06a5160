"""What one worker of the fleet does for all: the loops of the leader."""
