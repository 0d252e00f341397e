"""Hands a command to the process of the tests, which has torch and its company imported, and waits for its end.

Sends the words, the working directory, the environment and the three standard files; gets the exit status.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.environ["SNIPPETS_SOCKET"])
    order = json.dumps({"words": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}).encode()
    socket.send_fds(connection, [len(order).to_bytes(4, "big")], [0, 1, 2])
    connection.sendall(order)
    status = connection.recv(1)
sys.exit(status[0] if status else 70)
