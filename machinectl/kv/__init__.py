"""The controller's client of etcd, over the etcd3 package: the machines' interface, and maintenance.

`client` is what others use. etcd3 is imported nowhere else, and only when the first call is made.
"""
