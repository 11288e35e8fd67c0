"""Conductors, jobboards, hosts and jobs."""
