// Reads a relay with one of four real clients until it has seen a given seq, and prints what it saw as JSON.
//   node client.mjs --client sync|xrpc|skyware|atcute --url ws://... --plc URL --cursor N --until SEQ
// sync checks every signature, and the MST proof of every op. It leaves out what fails its checks without a word, which is why the caller compares counts.
import { parseArgs } from 'node:util'

const { values: args } = parseArgs({
  options: {
    client: { type: 'string' },
    url: { type: 'string' },
    plc: { type: 'string' },
    cursor: { type: 'string', default: '0' },
    until: { type: 'string' },
  },
})
const cursor = Number(args.cursor)
const until = Number(args.until)
const counts = {}
const errors = []
let last = cursor
let outOfOrder = 0

const count = (kind) => (counts[kind] = (counts[kind] ?? 0) + 1)
function saw(seq) {
  if (seq < last) outOfOrder++
  last = Math.max(last, seq)
}
function finish(status) {
  console.log(JSON.stringify({ counts, errors: errors.map(String), last, outOfOrder }))
  process.exit(status)
}
function fail(error) {
  errors.push(error?.cause ? `${error.message}: ${error.cause}` : error)
  if (errors.length > 100) finish(1)
}
// Clients that tell of frames: ops are counted one by one.
function frame(kind, message) {
  count(kind)
  for (const op of kind === 'commit' ? message.ops : []) count(op.action)
  saw(message.seq)
  if (last >= until) finish(0)
}
setTimeout(() => (fail(new Error(`stopped at seq ${last} of ${until}`)), finish(1)), 90_000)

const readers = {
  async sync() {
    const { Firehose, MemoryRunner } = await import('@atproto/sync')
    const { IdResolver, MemoryCache } = await import('@atproto/identity')
    const idResolver = new IdResolver({ plcUrl: args.plc, didCache: new MemoryCache(), timeout: 30_000, fetch: globalThis.fetch })
    // The runner's cursor moves only over what is done, so its end is the end of the work.
    const runner = new MemoryRunner({
      startCursor: cursor,
      concurrency: 8,
      setCursor: async (seq) => seq >= until && setImmediate(() => finish(0)),
    })
    const handleEvent = (event) => {
      count(event.event)
      last = Math.max(last, event.seq)
    }
    new Firehose({ service: args.url, idResolver, runner, unauthenticatedHandles: true, handleEvent, onError: fail }).start()
  },
  async xrpc() {
    const { Subscription } = await import('@atproto/xrpc-server')
    const method = 'com.atproto.sync.subscribeRepos'
    const getParams = () => ({ cursor: last })
    const subscription = new Subscription({ service: args.url, method, getParams, validate: (v) => v, onReconnectError: fail })
    for await (const message of subscription) frame(message.$type.split('#')[1], message)
  },
  async skyware() {
    const { Firehose } = await import('@skyware/firehose')
    const { WebSocket } = await import('ws')
    const firehose = new Firehose({ relay: args.url, cursor: String(cursor), ws: WebSocket, autoReconnect: false })
    for (const kind of ['identity', 'account', 'info', 'sync', 'commit', 'unknown']) firehose.on(kind, (m) => frame(kind, m))
    firehose.on('error', (e) => fail(e.error))
    firehose.on('websocketError', (e) => fail(e.error))
    firehose.on('close', () => finish(1))
    firehose.start()
  },
  async atcute() {
    const { FirehoseSubscription } = await import('@atcute/firehose')
    const { ComAtprotoSyncSubscribeRepos } = await import('@atcute/atproto')
    const { WebSocket } = await import('ws')
    const subscription = new FirehoseSubscription({
      service: args.url,
      nsid: ComAtprotoSyncSubscribeRepos.mainSchema,
      params: () => ({ cursor: last }),
      onError: fail,
      onConnectionError: (e) => fail(e.error ?? e.message),
      ws: { WebSocket },
    })
    for await (const message of subscription) frame(message.$type.split('#')[1], message)
  },
}
await readers[args.client]()
