# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""check_once.py VHCTL SOCKET: a disk that serves one connection and ends."""
import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[2])
listener.listen(1)
connection, _ = listener.accept()
listener.close()
os.unlink(sys.argv[2])
os.dup2(connection.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[1], [sys.argv[1], "serve", "blk", "--ram", "1M", "--fd", "3"])
