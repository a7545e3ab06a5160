"""What workers do for the fleet. One file for each chore; all but the tick are the leader's."""
