// A bare reader of subscribeRepos: the bytes of each frame, and what they decode to.
import WebSocket from 'ws'
import { decodeFirst } from 'cborg'
import * as dagCbor from '@ipld/dag-cbor'

export function decodeFrame(bytes) {
  const [header, rest] = decodeFirst(bytes, dagCbor.decodeOptions)
  return { header, body: dagCbor.decode(rest) }
}

// The frame with another seq: what a faithful relay does to it, and nothing else.
export function withSeq(bytes, seq) {
  const { header, body } = decodeFrame(bytes)
  return Buffer.concat([dagCbor.encode(header), dagCbor.encode({ ...body, seq })])
}

export class Stream {
  constructor(url, cursor, options = {}) {
    this.frames = []
    this.waiting = []
    this.closed = undefined
    const query = cursor === undefined ? '' : `?cursor=${cursor}`
    this.ws = new WebSocket(`${url}/xrpc/com.atproto.sync.subscribeRepos${query}`, { perMessageDeflate: false, ...options })
    this.opened = new Promise((resolve, reject) => {
      this.ws.on('open', resolve)
      this.ws.on('error', reject)
      this.ws.on('unexpected-response', (_, res) => reject(new Error(`HTTP ${res.statusCode}`)))
    })
    this.opened.catch(() => {})
    this.ws.on('message', (bytes, isBinary) => {
      if (!isBinary) throw new Error('text frame')
      const { header, body } = decodeFrame(bytes)
      this.frames.push({ bytes, header, body })
      this.wake()
    })
    this.ws.on('close', (code) => {
      this.closed = code
      this.wake()
    })
  }

  wake() {
    this.waiting = this.waiting.filter(({ done, resolve }) => {
      if (!done(this)) return true
      resolve(this)
      return false
    })
  }

  // Until done(stream) holds, asked after each frame and at the end of the connection.
  until(done, what, seconds = 120) {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`no ${what} within ${seconds} s; ${this.frames.length} frames`)), seconds * 1000)
      this.waiting.push({ done, resolve: (value) => (clearTimeout(limit), resolve(value)) })
      this.wake()
    })
  }

  untilSeq(seq, what = `seq ${seq}`) {
    return this.until((s) => s.frames.length > 0 && s.frames.at(-1).body.seq >= seq, what)
  }

  close() {
    this.ws.close()
  }
}
