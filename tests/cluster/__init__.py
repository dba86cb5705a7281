"""Fail-over on a real cluster: three nodes with etcd, Patroni and PostgreSQL 15, and HAProxy, on one machine.

network.py   network namespaces: one that the tests are in, one a node, a bridge between
node.py      a node: its processes in namespaces of their own; it can be cut off, frozen, or die
cluster.py   three nodes, HAProxy, and who is the primary when
patroni.yml  haproxy.cfg  pgbouncer.ini: as docs/scale.md quotes them
site.py      one database in it: workers, clients that edit, a client that listens; and whether it is whole
clients.py   those clients, and the boards that Kaggle served
faults.py    the faults
tally.py     what a fault did to a site, and its bounds: the table
run.py       runs the faults

`python -m tests.cluster` (make cluster) runs all of them in at most 20 minutes; the tests beside are the short form.
"""
