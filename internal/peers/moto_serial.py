"""moto, one request at a time.

Its own server answers on threads that share state without locks: two
conditional writes can both win. Served serially it is right. Listens on
127.0.0.1 at a port of the kernel's choice, which goes to the file that
PEER_PORT_FILE names.
"""

import os

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

server = make_server(
    "127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False
)
path = os.environ["PEER_PORT_FILE"]
with open(path + ".part", "w") as file:
    file.write(str(server.server_port))
os.rename(path + ".part", path)
server.serve_forever()
