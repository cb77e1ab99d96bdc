#!/usr/bin/env python3
"""Receives console masters (SCM_RIGHTS) on a socket, copies what they print to a file. Usage: recvtty.py SOCKET OUTPUT PIDFILE"""
import os, select, socket, sys

path, output, pidfile = sys.argv[1:4]
with open(pidfile, "w") as f:
    f.write(str(os.getpid()))
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
os.chdir(os.path.dirname(path))
server.bind(os.path.basename(path))
server.listen(8)
out = open(output, "ab", buffering=0)
masters = []
while True:
    ready, _, _ = select.select([server] + masters, [], [])
    for r in ready:
        if r is server:
            conn, _ = server.accept()
            msg, fds, _, _ = socket.recv_fds(conn, 4096, 4)
            conn.close()
            masters += fds
        else:
            try:
                data = os.read(r, 65536)
            except OSError:
                data = b""
            if data:
                out.write(data)
            else:
                masters.remove(r)
                os.close(r)
