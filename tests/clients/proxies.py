"""nginx and HAProxy as they stand before a server: started on free ports of 127.0.0.1, stopped by their process id.

They are Debian's packages; scripts/test installs them. Knows their configuration, not what is tested with them.
"""

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager

from support import free_port, wait_until

# An nginx in the foreground, as the present user, whose files lie in `folder`; `http` is the content of its http block.
NGINX_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""

# The configuration of an operator who keeps connections to the server open; everything else is nginx's default, so that one answer
# that it does not understand takes the server out for ten seconds.
NGINX = """
    client_max_body_size 64m;
    upstream llamero {{ server 127.0.0.1:{upstream}; {keepalive} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://llamero;
            proxy_set_header Host $host;
            proxy_buffering off;
            {version}
        }}
    }}
"""

HAPROXY = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    http-reuse always
    server llamero 127.0.0.1:{upstream}
"""


def binary(name):
    # Debian keeps them where only root's PATH looks.
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


def missing(name):
    """The reason for which this proxy cannot be tested with here, or None."""
    return None if binary(name) else f"SKIPPED: no {name} here (apt-get install {name})"


@contextmanager
def running(name, folder, upstream, http_1_0=False):
    """A proxy of this name before a port; yields its own port."""
    port = free_port()
    configuration = folder / f"{name}.conf"
    if name == "nginx":
        kept = ("", "") if http_1_0 else ("keepalive 16;", 'proxy_http_version 1.1; proxy_set_header Connection "";')
        http = NGINX.format(port=port, upstream=upstream, keepalive=kept[0], version=kept[1])
        text = NGINX_MAIN.format(folder=folder, http=http)
        command = [binary(name), "-c", configuration, "-p", folder]
    else:
        text = HAPROXY.format(port=port, upstream=upstream)
        command = [binary(name), "-db", "-f", configuration]
    configuration.write_text(text)
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        wait_until(lambda: listens(port, process, folder / f"{name}.out"), 30, f"{name} listens")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def listens(port, process, out):
    assert process.poll() is None, out.read_text(errors="replace")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
