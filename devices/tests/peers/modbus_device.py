"""A Modbus device by pymodbus, the independent peer: `modbus_device.py tcp` or `modbus_device.py rtu`.

Holding register n and input register n hold n; coil n and input n are on when n is odd; there are 2000 of each.
Prints where it is to be reached: a TCP port, or the path of a serial port that it made.
"""

import asyncio
import os
import pty
import socket
import sys
import threading
import tty

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext

try:
    from pymodbus.datastore import ModbusDeviceContext
except ImportError:
    from pymodbus.datastore import ModbusSlaveContext as ModbusDeviceContext
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer


def numbers():
    # Blocks count from 1, the protocol from 0.
    return ModbusSequentialDataBlock(1, list(range(2000)))


def odd():
    return ModbusSequentialDataBlock(1, [n % 2 == 1 for n in range(2000)])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def copy(source, sink):
    while True:
        os.write(sink, os.read(source, 256))


def serial_line():
    """Two serial ports with a wire between them."""
    ends = [pty.openpty() for _ in range(2)]
    for _, port in ends:
        tty.setraw(port)
    (left, _), (right, _) = ends
    for way in ((left, right), (right, left)):
        threading.Thread(target=copy, args=way, daemon=True).start()
    return [os.ttyname(port) for _, port in ends]


async def main():
    device = ModbusDeviceContext(di=odd(), co=odd(), hr=numbers(), ir=numbers())
    context = ModbusServerContext(device, single=True)
    if sys.argv[1] == "tcp":
        port = free_port()
        print(port, flush=True)
        await StartAsyncTcpServer(context, address=("127.0.0.1", port))
    else:
        ours, theirs = serial_line()
        print(theirs, flush=True)
        await StartAsyncSerialServer(context, port=ours, baudrate=9600)


asyncio.run(main())
