"""A controller that speaks Modbus TCP, of pymodbus. Prints `ready`; each line on standard input is the seconds by which it answers late from then on."""

import asyncio
import sys

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

late = 0.0


async def action(*_):
    await asyncio.sleep(late)
    return None


async def main():
    global late
    coils = [SimData(3, values=[True], datatype=DataType.BITS)]
    discrete = [SimData(4, values=[True], datatype=DataType.BITS)]
    # f32 20.5 is 0x41a40000: high word first at 0, low word first at 2; u16 at 4, i16 -2 at 5.
    holding = [SimData(0, values=[0x41A4, 0, 0, 0x41A4, 700, 0xFFFE], datatype=DataType.REGISTERS)]
    inputs = [SimData(10, values=[0, 5], datatype=DataType.REGISTERS)]
    device = SimDevice(7, simdata=(coils, discrete, holding, inputs), action=action)
    server = ModbusTcpServer(device, address=("127.0.0.1", int(sys.argv[1])))
    await server.serve_forever(background=True)
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        late = float(line)


asyncio.run(main())
