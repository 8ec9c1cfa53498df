"""Every reader of a file against any bytes: a result or an OctetError, within two seconds and half a GiB.

`make test` runs each reader on its valid files, on all cases that were ever found (cases/READER/), and on some mutations from
a fixed seed. `make fuzz MINUTES=60` goes on from there, led by which code an input reaches, and keeps what it finds as cases.
"""
