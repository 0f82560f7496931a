# SPDX-License-Identifier: GPL-2.0
"""server.py DIR PORTFILE: serves DIR over HTTP on a port of its own choice, and writes the port to PORTFILE.

As long as DIR/slow exists, packages trickle; as long as DIR/cut exists, they end half-way.
"""
import functools
import http.server
import os
import sys
import time


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.0'

    def copyfile(self, source, outputfile):
        if not self.path.endswith('.deb'):
            return super().copyfile(source, outputfile)
        data = source.read()
        if os.path.exists('cut'):
            data = data[:len(data) // 2]
        for at in range(0, len(data), 65536):
            if os.path.exists('slow'):
                outputfile.flush()
                time.sleep(0.2)
            outputfile.write(data[at:at + 65536])


os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory='.'))
with open(sys.argv[2] + '.new', 'w') as f:
    f.write(str(server.server_address[1]))
os.rename(sys.argv[2] + '.new', sys.argv[2])
server.serve_forever()
