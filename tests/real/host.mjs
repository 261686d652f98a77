// A small host in this process: describeServer, and subscribeRepos from a list of frames that may grow.
import http from 'node:http'
import { WebSocketServer } from 'ws'
import { decodeFrame } from './stream.mjs'

export class Host {
  static async start(port) {
    const host = new Host()
    host.frames = []
    host.subscribers = new Set()
    host.server = http.createServer((req, res) => {
      const known = req.url.startsWith('/xrpc/com.atproto.server.describeServer')
      res.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
      res.end(JSON.stringify(known ? { did: `did:web:localhost%3A${port}`, availableUserDomains: ['.test'] } : { error: 'NotFound' }))
    })
    host.sockets = new WebSocketServer({ server: host.server, perMessageDeflate: false })
    host.sockets.on('connection', (ws, req) => {
      const cursor = new URL(req.url, 'http://localhost').searchParams.get('cursor')
      host.subscribers.add(ws)
      ws.on('close', () => host.subscribers.delete(ws))
      if (cursor !== null) for (const { seq, bytes } of host.frames) if (seq > Number(cursor)) ws.send(bytes)
    })
    await new Promise((resolve) => host.server.listen(port, '127.0.0.1', resolve))
    return host
  }

  send(bytes, seq = decodeFrame(bytes).body.seq) {
    this.frames.push({ seq, bytes })
    for (const ws of this.subscribers) ws.send(bytes)
  }

  stop() {
    for (const ws of this.subscribers) ws.terminate()
    this.server.close()
  }
}
