// Reads a stream of WebSocket messages with one of node's libraries until it has had so many, writes them to a file, each behind its
// length in four bytes (little end first), and closes. Exit status 0: every message was binary, and the end was in order.
//   node reader.mjs ws|undici URL COUNT FILE
import fs from 'node:fs'

const [library, url, count, file] = process.argv.slice(2)
const out = fs.openSync(file, 'w')
let left = Number(count)

function take(socket, data) {
  const bytes = Buffer.from(data)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  fs.writeSync(out, Buffer.concat([length, bytes]))
  if (--left === 0) socket.close(1000)
}
function finish(code) {
  console.log(`closed with ${code}, ${left} messages short`)
  process.exit(code === 1000 && left === 0 ? 0 : 1)
}

if (library === 'ws') {
  const { WebSocket } = await import('ws')
  const socket = new WebSocket(url)
  socket.on('message', (data, isBinary) => (isBinary ? take(socket, data) : finish('text')))
  socket.on('error', (error) => console.log(error.message))
  socket.on('close', finish)
} else {
  const socket = new globalThis.WebSocket(url) // undici's, which node carries
  socket.binaryType = 'arraybuffer'
  socket.onmessage = ({ data }) => (data instanceof ArrayBuffer ? take(socket, data) : finish('text'))
  socket.onerror = ({ error }) => console.log(error?.message)
  socket.onclose = ({ code, wasClean }) => finish(wasClean ? code : `${code}, not clean`)
}
