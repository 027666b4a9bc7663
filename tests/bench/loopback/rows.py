"""The rows of the table: what is measured, which figure counts, and what ours is to reach."""

from typing import NamedTuple, Optional


class Target(NamedTuple):
    """At most `times` what `of` costs: the floor of the same runtime, or the best peer; or a value of the row's unit."""

    times: float
    of: str = ""

    def __str__(self):
        return f"≤ {self.times:.2f} × {self.of}" if self.of else f"≤ {self.times:g}"


class Row(NamedTuple):
    title: str
    cell: str  # for bench-generator, which explains it
    short: Optional[str] = None  # the cell of the short sample
    mode: str = "echo"  # of the servers
    figure: str = "cpu_ns"  # of those that bench-generator prints
    unit: str = "µs"
    floor: Optional[str] = None  # the cell of the floor, where it is another one
    target: Optional[Target] = None


FLOOR, PEER = "floor", "best peer"
LATENCY = "latency/binary/16x64"
# The latency at half of the messages a second that were reached in this cell.
RATE = "echo/binary/16x1x64"
IDLE, IDLE_SHORT = "idle/binary/4000x1024", "idle/binary/1000x1024"
IDLE_JSON, IDLE_JSON_SHORT = "idle/json/1000x1024", "idle/json/500x1024"

ECHO = [
    Row("64 B", "echo/binary/16x1x64", "echo/binary/16x1x64", target=Target(1.10, FLOOR)),
    Row("64 B, 256 connections", "echo/binary/256x1x64", target=Target(1.10, FLOOR)),
    Row("1 KiB", "echo/binary/16x1x1024", target=Target(1.10, FLOOR)),
    Row("64 B, 16 at a time", "echo/binary/16x16x64", "echo/binary/16x16x64", target=Target(1.20, FLOOR)),
    Row("1 KiB, 16 at a time", "echo/binary/16x16x1024", target=Target(1.20, FLOOR)),
    Row("16 KiB, 4 at a time", "echo/binary/16x4x16384", "echo/binary/16x4x16384", target=Target(1.10, FLOOR)),
    Row("16 KiB of multi-byte text", "echo/utf8/16x1x16384", "echo/utf8/16x1x16384", target=Target(1.25, FLOOR)),
    Row("1 MiB, 4 connections", "echo/binary/4x1x1048576", target=Target(1.05, PEER)),
]

OTHER = [
    Row("compressed, 1 KiB of JSON", "echo/json/16x1x1024", "echo/json/16x1x1024", mode="deflate",
        floor="echo/binary/16x1x64", target=Target(1.0, PEER)),
    Row("broadcast of 1 KiB to 1,000, a delivery", "broadcast/binary/1000x1024", "broadcast/binary/1000x1024",
        mode="broadcast", target=Target(8)),
    Row("handshake", "handshake/4000", "handshake/500", target=Target(38)),
]

MEMORY = [
    Row("idle, fresh", IDLE, IDLE_SHORT, figure="fresh", unit="KB", target=Target(1.0)),
    Row("idle, after one message", IDLE, IDLE_SHORT, figure="used", unit="KB", target=Target(1.2)),
    Row("idle, compression agreed on", IDLE_JSON, IDLE_JSON_SHORT, "deflate", "fresh", "KB"),
    Row("idle, compression used", IDLE_JSON, IDLE_JSON_SHORT, "deflate", "used", "KB", target=Target(8)),
]

PATIENCE = [
    Row("50 % of replies within", LATENCY, figure="p50_ns"),
    Row("99 % within", LATENCY, figure="p99_ns"),
    Row("99.9 % within", LATENCY, figure="p999_ns"),
]

GROWTH = [
    Row("64 B, 10 connections", "echo/binary/10x1x64", target=Target(1.10, FLOOR)),
    Row("64 B, 100 connections", "echo/binary/100x1x64", target=Target(1.10, FLOOR)),
    Row("64 B, 1,000 connections", "echo/binary/1000x1x64", target=Target(1.10, FLOOR)),
    Row("64 B, 9,000 connections", "echo/binary/9000x1x64", target=Target(1.10, FLOOR)),
    Row("memory, of 1,000", "echo/binary/1000x1x64", figure="resident", unit="KB"),
    Row("memory, of 9,000", "echo/binary/9000x1x64", figure="resident", unit="KB"),
]

# Title, what the figures are, and the rows.
PARTS = [
    ("Echo", "CPU time of the server, µs a message; in brackets, times the floor of the same runtime", ECHO),
    ("Other work", "CPU time of the server, µs; in brackets, times the floor of the same runtime", OTHER),
    ("Memory", "resident, KB (1,000 bytes) a connection", MEMORY),
    ("Latency", "µs, 64 B on 16 connections, at half of the messages a second that each reaches", PATIENCE),
    ("Growth", "CPU time of the server, µs a message, and resident KB a connection that is in use", GROWTH),
]
ROWS = [row for _, _, rows in PARTS for row in rows]
