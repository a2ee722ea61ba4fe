"""The key-value store that the machines share: etcd, by its v3 API, behind one small interface.

`interface` is what everybody else sees. `gateway` implements it on the machines, in pure Python over etcd's JSON
gateway; the controller has an implementation of its own over the etcd3 package (machinectl/kv). Both pass
the same contract tests.
"""
