"""Disks and images as files of this host: inspection, overlays, instance directories."""
