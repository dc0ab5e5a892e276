"""The configuration of the HAProxy that stands in, and when there is a reason for one."""

from __future__ import annotations

from pathlib import Path

from cluster.stand_in import admin_socket, configuration, has_servers

TEXT = """global
    stats socket /x/admin.sock mode 600 level admin expose-fd listeners
    stats timeout 30s
frontend prometheus
    bind 127.0.0.1:9101
frontend http_frontend
    bind 127.0.0.1:8000
backend app
    default-server fastinter 250ms check
    server one 127.0.0.1:30000 check
    server fallback 127.0.0.1:8500 check backup
"""


def test_it_listens_on_the_open_sockets_and_takes_orders_elsewhere() -> None:
    made = configuration(TEXT, {("127.0.0.1", 8000): 7}, Path("/y/stand-in.sock"))
    assert "    bind fd@7\n" in made
    assert "    bind 127.0.0.1:9101\n" in made
    assert "    stats socket /y/stand-in.sock mode 600 level admin expose-fd listeners\n" in made
    assert made.count("\n") == TEXT.count("\n")


def test_the_admin_socket_is_read_from_the_configuration() -> None:
    assert admin_socket(TEXT) == Path("/x/admin.sock")


def test_where_only_serves_own_proxy_is_left_nobody_stands_in() -> None:
    assert has_servers(TEXT)
    assert not has_servers(TEXT.replace("    server one 127.0.0.1:30000 check\n", ""))
