"""The laboratory: the real things that buildflow's tests run against.

Everything here is started by the tests themselves, in directories and on ports of their own, and
leaves nothing behind: a bootable guest image (`guest`), a private libvirtd (`libvirt`), OpenStack's
Keystone, Cinder, Neutron and Glance (`openstack`) and the servers behind the optional parts
(`services`). Nothing outside the repository is needed but Debian packages and PyPI.
"""
