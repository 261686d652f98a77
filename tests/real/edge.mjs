// What reads the relay: WebSocket libraries, each with an implementation of its own. What they get is held against the files of the log.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import tls from 'node:tls'
import { Skip, build, demand, equal, finish, folder, freePort, here, makeCertificates, start, stop, test, waitFor } from './harness.mjs'
import { SmallNetwork } from './small.mjs'

const SUBSCRIBE = '/xrpc/com.atproto.sync.subscribeRepos'
const PING = '1s'
const CURSOR = 7

function isInstalled(command) {
  try {
    execFileSync('sh', ['-c', `PATH=$PATH:/usr/sbin command -v ${command}`])
    return true
  } catch {
    return false
  }
}

// The messages of the log, from the files that the relay sends as they are: unmasked, unfragmented, binary.
function loggedMessages(relay) {
  const logFolder = path.join(relay.dir, 'data/store/log')
  const messages = []
  for (const name of fs.readdirSync(logFolder).filter((n) => n.endsWith('.ws')).sort()) {
    const bytes = fs.readFileSync(path.join(logFolder, name))
    for (let at = 0; at < bytes.length; ) {
      equal(bytes[at], 0x82, 'the first byte of a message')
      let [size, length] = [2, bytes[at + 1]]
      if (length === 126) [size, length] = [4, bytes.readUInt16BE(at + 2)]
      else if (length === 127) [size, length] = [10, Number(bytes.readBigUInt64BE(at + 2))]
      messages.push(bytes.subarray(at + size, at + size + length))
      at += size + length
    }
  }
  return messages
}

// What reader.mjs and the others write.
function checkMessages(bytes, want) {
  let at = 0
  for (const [i, message] of want.entries()) {
    demand(at + 4 <= bytes.length, `message ${i} of ${want.length} is missing`)
    const length = bytes.readUInt32LE(at)
    demand(Buffer.compare(bytes.subarray(at + 4, at + 4 + length), message) === 0, `message ${i} differs`)
    at += 4 + length
  }
  equal(at, bytes.length, 'the bytes after the last message')
}

// A consumer that reads all and says nothing, not even pong. Its end: when it was cut off.
function openMute(relay, cursor) {
  const to = { port: relay.port, host: '127.0.0.1', servername: 'localhost', ca: relay.ca }
  const socket = relay.ca ? tls.connect(to) : net.connect(to)
  socket.write(`GET ${SUBSCRIBE}?cursor=${cursor} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
  socket.resume()
  socket.on('error', () => {})
  return socket
}

/* ---- the readers: each gives a promise of { bytes, end } ---- */

function readByChild(command, args, missing) {
  return async (name, url, count, caFile) => {
    if (!isInstalled(command)) return { skip: `${command} is not installed` }
    const file = path.join(folder, `${name}.messages`)
    const env = caFile ? { NODE_EXTRA_CA_CERTS: caFile, SSL_CERT_FILE: caFile } : {}
    const child = await start(name, command, [...args, url, String(count), file], { env })
    const { code } = await child.exited
    if (code === missing) return { skip: 'not installed' }
    return { end: code === 0 ? 'clean' : fs.readFileSync(child.log, 'utf8'), bytes: fs.readFileSync(file) }
  }
}

async function readByBrowser(name, url, count, caFile) {
  if (!isInstalled('chromium')) return { skip: 'not installed' }
  const page = fs.readFileSync(path.join(here, 'reader.html'))
  const port = await freePort()
  let posted
  const result = new Promise((resolve) => (posted = resolve))
  const server = http.createServer((req, res) => {
    if (req.method === 'GET') return res.writeHead(200, { 'content-type': 'text/html' }).end(page)
    const parts = []
    req.on('data', (part) => parts.push(part))
    req.on('end', () => (res.end(), posted({ query: req.url.split('?')[1], bytes: Buffer.concat(parts) })))
  })
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  // --no-sandbox: the tests may run as root, and the page is ours.
  const child = await start(name, 'chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-extensions', '--disable-background-networking', '--disable-component-update',
    // Its authorities are in a database of its own.
    ...(caFile ? ['--ignore-certificate-errors'] : []), `--user-data-dir=${path.join(folder, name)}`,
    `http://127.0.0.1:${port}/reader.html?count=${count}&url=${encodeURIComponent(url)}`])
  const { query, bytes } = await Promise.race([result, child.exited.then(() => ({ query: 'the browser ended', bytes: Buffer.alloc(0) }))])
  await stop(child, 'SIGKILL')
  server.closeAllConnections()
  server.close()
  return { end: query === 'code=1000&clean=true&left=0' ? 'clean' : query, bytes }
}

const READERS = {
  ws: readByChild(process.execPath, ['reader.mjs', 'ws']),
  undici: readByChild(process.execPath, ['reader.mjs', 'undici']),
  // Debian's python3, whatever else there is: the libraries are Debian's.
  'python3-websockets': readByChild('/usr/bin/python3', ['reader.py', 'websockets'], 2),
  'python3-websocket': readByChild('/usr/bin/python3', ['reader.py', 'websocket-client'], 2),
  chromium: readByBrowser,
}

// All at once, beside a consumer that answers no ping: when that was cut off, the others have answered theirs. Then comes the last event.
async function testLibraries(network, relay, where = '') {
  const metric = (family, labels) => relay.metric('fanout', family, labels)
  const closes = (reason) => metric('relay_consumer_closes_total', `reason="${reason}"`)
  const count = network.seq + 1 - CURSOR
  const results = {}
  const reading = Object.entries(READERS).map(async ([name, read]) => {
    const url = `${relay.url}${SUBSCRIBE}?cursor=${CURSOR}`
    const result = await read(name + where.replaceAll(' ', '-'), url, count, relay.caFile).catch((error) => ({ end: String(error) }))
    results[name] = result
  })
  const running = () => reading.length - Object.keys(results).length
  const allWait = async () => (await metric('relay_consumers')) === running() && (await metric('relay_consumer_lag_events')) === 0
  await test(`WebSocket libraries connect${where}, and keep their connections by pongs`, async () => {
    await waitFor(allWait, 'every library has what there is')
    const connected = running()
    const mute = openMute(relay, CURSOR)
    await waitFor(async () => (await closes('silent')) === 1, 'a consumer without pongs is cut off')
    mute.destroy()
    equal([await metric('relay_consumers'), running()], [connected, connected], 'the consumers that are left')
    await network.event()
    await Promise.all(reading)
    equal(await closes('closed'), connected, 'consumers that closed')
    return `${connected} libraries`
  })
  const want = loggedMessages(relay).slice(CURSOR)
  equal(want.length, count, 'messages after the cursor')
  for (const name of Object.keys(READERS))
    await test(`${name} reads every message as it is${where}, and closes in order`, async () => {
      const { skip, end, bytes } = results[name] ?? { end: 'did not end' }
      if (skip) throw new Skip(skip)
      equal(end, 'clean', 'its end')
      checkMessages(bytes, want)
      return `${want.length} messages, ${bytes.length} bytes`
    })
}

// Another fanout of the relay's, with settings and a port of its own.
async function startFanout(network, name, settings) {
  const [port, metricsPort] = [await freePort(), await freePort()]
  const { relay } = network
  const all = { port, metrics_port: metricsPort, ...settings }
  const sets = Object.entries(all).flatMap(([key, value]) => ['--set', `fanout.${key}=${value}`])
  const child = await start(name, path.join(build, 'standpipe-fanout'), ['--config', relay.config, ...sets, '--set', `pipes.control=ipc://{run}/${name}-{stage}`])
  const fanout = Object.assign(Object.create(relay), { child, port, url: `ws://localhost:${port}`, metricsPorts: { fanout: metricsPort } })
  await waitFor(async () => (await fanout.metric('fanout', 'relay_head_seq')) === network.seq, `${name} knows the log`)
  return fanout
}

const network = await SmallNetwork.start('edge', { fanout: { ping_interval: PING } })
await testLibraries(network, network.relay)
const { ca, cert, key } = makeCertificates(['localhost'])
const secure = await startFanout(network, 'secure', { tls_certificate: cert, tls_key: key })
Object.assign(secure, { ca: fs.readFileSync(ca), caFile: ca, url: secure.url.replace('ws:', 'wss:') })
await testLibraries(network, secure, ' by TLS')
await stop(secure.child)
await network.stop()
await finish()
