"""libvirt as the hypervisor (nova/virt/libvirt): embedded, session, system and remote.

Nothing here imports the `libvirt` binding before `binding.load`, which decides where its log goes;
`factory` is the entrance and does that first.
"""
