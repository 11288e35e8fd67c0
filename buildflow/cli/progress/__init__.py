"""Progress of builds on stderr: a live tree on a terminal, plain lines elsewhere."""
