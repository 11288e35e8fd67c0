"""Drivers: the protocols that the engine knows, and what stands behind them.

Rules: a driver imports the protocols, the errors and its own library, never the engine or a flow;
heavy libraries (libvirt, openstacksdk, cinderclient, os-brick) are imported when a driver is made.
"""
