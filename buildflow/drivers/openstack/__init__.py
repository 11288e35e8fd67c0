"""OpenStack: volumes from Cinder, ports from Neutron, images from Glance, identity from Keystone.

Each service's driver is one class (`cinder.CinderVolumes`, `neutron.NeutronPorts`,
`glance.GlanceImages`), made from the settings and, where several are used, one `session.Cloud` that
they share. Nothing here is imported before a driver is made, and os-brick and os-vif not before a
volume or a port needs them.
"""
