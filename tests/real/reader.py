# Reads a stream of WebSocket messages with one of Python's libraries; see reader.mjs.
#   python3 reader.py websockets|websocket-client URL COUNT FILE
# Exit status 2: the library is not installed.
import struct
import sys

library, url, count, path = sys.argv[1:]
count = int(count)


def put(out, data):
    if not isinstance(data, bytes):
        raise TypeError("a text message")
    out.write(struct.pack("<I", len(data)) + data)


async def read_websockets(websockets, out):
    async with websockets.connect(url, max_size=None, ping_interval=None) as socket:
        for _ in range(count):
            put(out, await socket.recv())
        await socket.close()
        return socket.close_code


def read_websocket_client(websocket, out):
    socket = websocket.create_connection(url, timeout=60)
    for _ in range(count):
        put(out, socket.recv())  # answers pings meanwhile
    socket.send_close(1000)
    while True:
        opcode, data = socket.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            socket.shutdown()
            return struct.unpack(">H", data[:2])[0]


try:
    if library == "websockets":
        import asyncio
        import websockets
    else:
        import websocket
except ImportError as error:
    print(error)
    sys.exit(2)
with open(path, "wb") as file:
    code = asyncio.run(read_websockets(websockets, file)) if library == "websockets" else read_websocket_client(websocket, file)
print(f"closed with {code}")
sys.exit(0 if code == 1000 else 1)
