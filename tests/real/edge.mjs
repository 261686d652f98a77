// What reads the relay: WebSocket libraries, each with an implementation of its own, with and without TLS; and what may stand between, the
// proxies with the configurations of systemd/. What comes out is held against the files of the log.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import tls from 'node:tls'
import WebSocket from 'ws'
import { Skip, build, demand, equal, finish, folder, freePort, here, makeCertificates, run, start, stop, test, waitFor } from './harness.mjs'
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

function handshake(cursor) {
  return `GET ${SUBSCRIBE}?cursor=${cursor} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n'
}

// A consumer that reads all and says nothing, not even pong. Its end: when it was cut off.
function openMute(relay, cursor) {
  const to = { port: relay.port, host: '127.0.0.1', servername: 'localhost', ca: relay.ca }
  const socket = relay.ca ? tls.connect(to) : net.connect(to)
  socket.write(handshake(cursor))
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
  const control = `ipc://{run}/${name}-{stage}`
  const child = await start(name, path.join(build, 'standpipe-fanout'), ['--config', relay.config, ...sets, '--set', `pipes.control=${control}`])
  const fanout = Object.assign(Object.create(relay), { child, control, port, url: `ws://localhost:${port}`, metricsPorts: { fanout: metricsPort } })
  await waitFor(async () => (await fanout.metric('fanout', 'relay_head_seq')) === network.seq, `${name} knows the log`)
  return fanout
}

/* ---- proxies ---- */

const TIMEOUT = 3 // seconds, instead of the 90 of the configurations: in proportion to PING, less than theirs to the default interval
const BACKLOG = 12 // MB for one that does not read: more than all sockets on the way hold
const CLIENT = '127.0.0.9'

// The configuration as it is shipped, but for names, ports, files and the time. Each edit has to find its text.
function configure(file, edits) {
  let text = fs.readFileSync(path.join(here, '../../systemd', file), 'utf8')
  for (const [from, to] of edits) {
    demand(text.includes(from), `${file} lacks ${from}`)
    text = text.replaceAll(from, to)
  }
  return text
}

const PROXIES = {
  nginx: (at) => {
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${at.dir}/${t};`).join(' ')
    const text = configure('standpipe.nginx.conf', [['listen 443', `listen 127.0.0.1:${at.port}`], ['127.0.0.1:2470', at.upstream],
      ['/etc/ssl/relay.example.com.pem', at.cert], ['/etc/ssl/private/relay.example.com.key', at.key], ['relay.example.com', 'localhost'],
      ['timeout 90s', `timeout ${TIMEOUT}s`]])
    fs.writeFileSync(at.conf, `daemon off; pid ${at.dir}/pid; events { } http { access_log off; ${temp}\n${text}\n}`)
    return ['nginx', ['-e', 'stderr', '-c', at.conf]]
  },
  haproxy: (at) => {
    fs.writeFileSync(path.join(at.dir, 'both.pem'), fs.readFileSync(at.cert, 'utf8') + fs.readFileSync(at.key, 'utf8'))
    fs.writeFileSync(at.conf, configure('standpipe.haproxy.cfg', [['bind :443', `bind 127.0.0.1:${at.port}`], ['127.0.0.1:2470', at.upstream],
      ['/etc/ssl/private/relay.example.com.pem', path.join(at.dir, 'both.pem')], ['tunnel 90s', `tunnel ${TIMEOUT}s`]]))
    return ['haproxy', ['-db', '-f', at.conf]]
  },
  caddy: (at) => {
    const text = configure('standpipe.Caddyfile', [['127.0.0.1:2470', at.upstream], ['/etc/ssl/relay.example.com.pem', at.cert],
      ['/etc/ssl/private/relay.example.com.key', at.key], ['relay.example.com {', `https://localhost:${at.port} {\n\tbind 127.0.0.1`]])
    fs.writeFileSync(at.conf, `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${text}`)
    return ['caddy', ['run', '--adapter', 'caddyfile', '--config', at.conf]]
  },
}

async function startProxy(name, upstream, { cert, key }) {
  const dir = path.join(folder, `proxy-${name}`)
  fs.mkdirSync(dir)
  const at = { dir, conf: path.join(dir, 'conf'), port: await freePort(), upstream: `127.0.0.1:${upstream}`, cert, key }
  const [command, args] = PROXIES[name](at)
  const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir }
  const child = await start(`proxy-${name}`, command, args, { env })
  const connects = () => new Promise((resolve, reject) => net.connect(at.port, '127.0.0.1', function () { resolve(this.destroy()) }).on('error', reject))
  await waitFor(connects, `${name} listens`)
  return { child, port: at.port }
}

// A consumer through the proxy, from an address of its own.
function openThrough(port, ca, cursor) {
  const ws = new WebSocket(`wss://localhost:${port}${SUBSCRIBE}?cursor=${cursor}`, { ca, localAddress: CLIENT, family: 4, perMessageDeflate: false })
  const consumer = { ws, messages: [], pings: 0, end: undefined }
  ws.on('message', (bytes) => consumer.messages.push(bytes))
  ws.on('ping', () => consumer.pings++)
  ws.on('error', (error) => (consumer.end ??= error.message))
  ws.on('close', (code) => (consumer.end ??= code))
  return consumer
}

// All at the same time. The event that ends the quiet comes when each has had enough of it.
async function testProxies(network, certificates) {
  const names = Object.keys(PROXIES).filter(isInstalled)
  for (const name of Object.keys(PROXIES)) if (!names.includes(name)) await test(`behind ${name}`, () => { throw new Skip('not installed') })
  let loud = names.length
  let event
  const endQuiet = async () => {
    await waitFor(() => loud === 0, 'all have been quiet')
    await (event ??= network.event())
  }
  await Promise.all(names.map((name) => testProxy(network, name, certificates, () => loud--, endQuiet)))
}

async function testProxy(network, name, certificates, beQuiet, endQuiet) {
  const prefix = `behind ${name}: `
  const fanout = await startFanout(network, `behind-${name}`, { trusted_proxies: '127.0.0.1', progress_timeout: '2s' })
  const closes = (reason) => fanout.metric('fanout', 'relay_consumer_closes_total', `reason="${reason}"`)
  const proxy = await startProxy(name, fanout.port, certificates)
  const ca = fs.readFileSync(certificates.ca)
  let consumer
  await test(`${prefix}a consumer reads from its cursor, and is who it is`, async () => {
    consumer = openThrough(proxy.port, ca, CURSOR)
    await waitFor(() => consumer.end !== undefined || consumer.messages.length === network.seq - CURSOR, 'all messages')
    equal(consumer.end, undefined, 'its end')
    const want = loggedMessages(network.relay).slice(CURSOR)
    for (const [i, message] of want.entries()) demand(Buffer.compare(consumer.messages[i], message) === 0, `message ${i} differs`)
    const list = run(path.join(build, 'standpipe'), ['--config', network.relay.config, '--set', `pipes.control=${fanout.control}`, 'consumers'])
    demand(new RegExp(`\\b${CLIENT.replaceAll('.', '\\.')}\\b`).test(list), `no ${CLIENT} in:\n${list}`)
    return `${want.length} messages`
  })
  await test(`${prefix}pings pass, and a quiet stream stays`, async () => {
    const before = consumer.pings
    await waitFor(() => consumer.end !== undefined || consumer.pings >= before + TIMEOUT + 2, 'pings for longer than the timeout')
    equal(consumer.end, undefined, 'its end')
    beQuiet()
    await endQuiet()
    await waitFor(() => consumer.messages.length === network.seq - CURSOR, 'the next event')
    consumer.ws.close(1000)
    await waitFor(() => consumer.end !== undefined, 'the end')
    equal([consumer.end, await closes('closed')], [1000, 1], 'its code, and how many the relay closed')
  })
  await test(`${prefix}one that does not read is found out`, async () => {
    const socket = tls.connect({ port: proxy.port, host: '127.0.0.1', servername: 'localhost', ca, ALPNProtocols: ['http/1.1'] })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.on('secureConnect', resolve))
    socket.pause()
    socket.write(handshake(0))
    await waitFor(async () => (await closes('stalled')) === 1, 'it is cut off')
    socket.destroy()
  })
  await stop(proxy.child)
  await stop(fanout.child)
}

const network = await SmallNetwork.start('edge', { fanout: { ping_interval: PING } })
await testLibraries(network, network.relay)
const certificates = makeCertificates(['localhost'])
const secure = await startFanout(network, 'secure', { tls_certificate: certificates.cert, tls_key: certificates.key })
Object.assign(secure, { ca: fs.readFileSync(certificates.ca), caFile: certificates.ca, url: secure.url.replace('ws:', 'wss:') })
await testLibraries(network, secure, ' by TLS')
await stop(secure.child)
for (let i = 0; i < BACKLOG; i++) await network.event(950_000)
await testProxies(network, certificates)
await network.stop()
await finish()
