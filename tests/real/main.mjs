// The relay between real components: a real PDS and PLC directory before it, real clients and verifiers behind it.
// Each network is one relay group; run prints "ok", "not ok" and "skip" lines.
import fs from 'node:fs'
import path from 'node:path'
import { Relay, build, demand, equal, finish, folder, freePort, makeCertificates, node, run, setPrefix, startNginx, stop, test, waitFor } from './harness.mjs'
import { Host } from './host.mjs'
import { Stream, decodeFrame, withSeq } from './stream.mjs'
import { SignedRepo } from './repos.mjs'
import { Verifier } from './verify.mjs'
import { makeTraffic } from './traffic.mjs'
import { testSimnet } from './simnet.mjs'

const CLIENTS = ['sync', 'xrpc', 'skyware', 'atcute']
const accountOf = (frame) => frame.body.repo ?? frame.body.did

// What a relay must pass on of what hosts sent: all but #sync that says nothing new (its rev is not above the last one).
function expectedOf(frames) {
  const revs = new Map()
  return frames.filter((frame) => {
    const { t } = frame.header
    if (t !== '#commit' && t !== '#sync') return true
    const did = accountOf(frame)
    const stale = frame.body.rev <= (revs.get(did) ?? '')
    demand(!stale || t === '#sync', 'a stale commit was sent')
    if (!stale) revs.set(did, frame.body.rev)
    return !stale
  })
}

function countKinds(frames) {
  const counts = {}
  const count = (kind) => (counts[kind] = (counts[kind] ?? 0) + 1)
  for (const { header, body } of frames) {
    count(header.t.slice(1))
    if (header.t === '#commit') for (const op of body.ops) count(op.action)
  }
  return counts
}

function byAccount(frames) {
  const accounts = new Map()
  for (const frame of frames) {
    const did = accountOf(frame)
    accounts.set(did, [...(accounts.get(did) ?? []), frame])
  }
  return accounts
}

class Network {
  constructor(name, { tls, form }) {
    Object.assign(this, { name, tls, form })
  }

  async start() {
    this.plcPort = await freePort()
    this.pdsPort = await freePort()
    this.hostPort = await freePort()
    this.plcUrl = `http://127.0.0.1:${this.plcPort}`
    this.plc = await node(`${this.name}-plc`, 'plc.mjs', ['--port', this.plcPort, '--form', this.form], { ready: /ready/ })
    const settings = { resolve: { plc_url: this.plcUrl }, ingest: { backfill: true, backoff_min: '100ms' }, network: {} }
    if (this.tls) await this.planTls(settings)
    else {
      this.pdsName = `localhost:${this.pdsPort}`
      this.hostName = `localhost:${this.hostPort}`
      settings.network.plain_hosts = 'localhost:*, 127.0.0.1:*'
    }
    const hostname = this.tls ? this.pdsName : 'localhost'
    const pdsArgs = ['--port', this.pdsPort, '--plc', this.plcUrl, '--data', path.join(folder, `${this.name}-pds`), '--hostname', hostname]
    this.pds = await node(`${this.name}-pds`, 'pds.mjs', pdsArgs, { ready: /ready/ })
    this.host = await Host.start(this.hostPort)
    this.relay = new Relay(`${this.name}-relay`, settings)
    await this.relay.start()
    if (this.tls) await this.startTls()
    this.readUrl = this.tls ? `wss://localhost:${this.relayTlsPort}` : this.relay.url
  }

  // Names that only the relay's own hosts file knows; a certificate that only network.ca_file vouches for.
  async planTls(settings) {
    this.pdsTlsPort = await freePort()
    this.hostTlsPort = await freePort()
    this.relayTlsPort = await freePort()
    this.pdsName = `pds1.test:${this.pdsTlsPort}`
    this.hostName = `host2.test:${this.hostTlsPort}`
    this.certificates = makeCertificates(['pds1.test', 'host2.test', 'localhost'])
    const hosts = path.join(folder, `${this.name}-hosts`)
    fs.writeFileSync(hosts, '127.0.0.1 pds1.test host2.test\n')
    settings.network = { ca_file: this.certificates.ca, hosts_file: hosts, private_hosts: '*.test', plain_hosts: '127.0.0.1:*' }
  }

  async startTls() {
    const servers = [
      { name: 'pds1.test', port: this.pdsTlsPort, upstream: this.pdsPort },
      { name: 'host2.test', port: this.hostTlsPort, upstream: this.hostPort },
      { name: 'localhost', port: this.relayTlsPort, upstream: this.relay.port },
    ]
    this.nginx = await startNginx(`${this.name}-nginx`, servers, this.certificates)
  }

  get webSocketOptions() {
    return this.tls ? { ca: fs.readFileSync(this.certificates.ca) } : {}
  }

  stream(cursor) {
    return new Stream(this.readUrl, cursor, this.webSocketOptions)
  }

  async stop() {
    this.host.stop()
    for (const child of [this.pds, this.plc, this.nginx]) if (child) await stop(child)
  }
}

async function makeEvents(net) {
  const direct = new Stream(`ws://localhost:${net.pdsPort}`, 0)
  await direct.opened
  const traffic = await makeTraffic(`http://localhost:${net.pdsPort}`, net.name)
  const isLast = ({ body }) => body.repo === traffic.last.did && body.rev === traffic.last.rev
  await direct.until((s) => s.frames.some(isLast), 'last commit from the PDS')
  direct.close()
  const scheme = net.tls ? 'https' : 'http'
  let seq = 1
  net.repos = []
  const sent = []
  for (const curve of ['p256', 'k256']) {
    const repo = await SignedRepo.create(net.plcUrl, `${scheme}://${net.hostName}`, curve, `${curve}-${net.name}`)
    const frames = await repo.history(seq, 40)
    seq += frames.length
    for (const bytes of frames) net.host.send(bytes)
    sent.push(...frames.map((bytes) => ({ bytes, ...decodeFrame(bytes) })))
    net.repos.push(repo)
  }
  net.nextSeq = seq
  net.pdsFrames = direct.frames
  net.expected = expectedOf([...direct.frames, ...sent])
  net.traffic = traffic
}

function testPassing(net) {
  const { relay } = net
  const tests = [
    ['requestCrawl verifies and adds the hosts', async () => {
      for (const name of [net.pdsName, net.hostName]) equal((await relay.requestCrawl(name)).status, 200, `requestCrawl ${name}`)
      await waitFor(async () => (await relay.metric('ingest', 'relay_connections')) === 2, 'both hosts are connected')
      const refused = await relay.requestCrawl('nobody-here.test')
      equal(refused.status, 400, 'requestCrawl of a host that is not there')
      equal(JSON.parse(refused.text).error, 'HostNotFound', 'its error')
    }],
    ['every event comes through', async () => {
      await makeEvents(net)
      await waitFor(async () => (await relay.lastSeq()) >= net.expected.length, 'all events are logged')
      equal(await relay.lastSeq(), net.expected.length, 'the number of logged events')
      const stream = net.stream(0)
      await stream.untilSeq(net.expected.length)
      stream.close()
      net.frames = stream.frames
      equal(net.frames.map((f) => f.body.seq), net.expected.map((_, i) => i + 1), 'the sequence numbers')
      return JSON.stringify(countKinds(net.frames))
    }],
    ['frames are those of the hosts but for seq', async () => {
      const [want, got] = [byAccount(net.expected), byAccount(net.frames)]
      equal([...got.keys()].sort(), [...want.keys()].sort(), 'the accounts')
      for (const [did, frames] of want) {
        equal(got.get(did).length, frames.length, `events of ${did}`)
        for (const [i, frame] of frames.entries()) {
          const here = got.get(did)[i]
          demand(Buffer.compare(here.bytes, withSeq(frame.bytes, here.body.seq)) === 0, `event ${i} of ${did} (${frame.header.t}) differs`)
        }
      }
      return `${net.frames.length} frames`
    }],
    ['independent verifiers find every frame right', async () => {
      const verifier = new Verifier(net.plcUrl)
      for (const frame of net.frames) await verifier.frame(frame.bytes)
      const { counts } = verifier
      equal(counts.signatures, counts.commits + counts.syncs, 'signatures checked')
      equal(counts.inverted + counts.first, counts.commits, 'commits inverted')
      return JSON.stringify(counts)
    }],
  ]
  for (const client of CLIENTS)
    tests.push([`client ${client} reads what was sent`, async () => {
      const env = net.tls ? { NODE_EXTRA_CA_CERTS: net.certificates.ca } : {}
      const args = ['--client', client, '--url', net.readUrl, '--plc', net.plcUrl, '--until', net.expected.length]
      const child = await node(`${net.name}-client-${client}`, 'client.mjs', args.map(String), { env })
      const { code } = await child.exited
      const seen = JSON.parse(fs.readFileSync(child.log, 'utf8').split('\n').find((line) => line.startsWith('{')))
      equal({ code, errors: seen.errors, outOfOrder: seen.outOfOrder }, { code: 0, errors: [], outOfOrder: 0 }, client)
      const want = countKinds(net.expected)
      if (client === 'sync') delete want.commit // it tells of ops, not of commits
      const sorted = (counts) => Object.fromEntries(Object.entries(counts).sort())
      equal(sorted(seen.counts), sorted(want), 'what it saw')
    }])
  return tests
}

// Damaged, forged and misdirected commits, each with the counter that must rise.
function testRefusals(net) {
  const { relay } = net
  const verdict = (name) => relay.metric('ingest', 'relay_events_acknowledged_total', `verdict="${name}"`)
  const refusedAs = async (name, count, send) => {
    const before = await verdict(name)
    const logged = await relay.lastSeq()
    await send()
    await waitFor(async () => (await verdict(name)) >= before + count, `${count} refused as ${name}`)
    equal(await verdict(name), before + count, `refused as ${name}`)
    equal(await relay.lastSeq(), logged, 'the last number')
  }
  return [
    ["a commit from a host that is not the account's PDS", () =>
      refusedAs('wrong_host', 1, async () => {
        const stolen = net.pdsFrames.findLast((f) => f.header.t === '#commit')
        net.host.send(withSeq(stolen.bytes, net.nextSeq++))
      })],
    ['a commit signed by another key', () =>
      refusedAs('bad_signature', 2, async () => {
        for (const repo of net.repos) {
          const other = await SignedRepo.create(net.plcUrl, 'http://localhost', 'p256', `other-${Date.now()}`)
          const copy = Object.assign(new SignedRepo(), { ...repo, records: new Map(repo.records) })
          net.host.send(await copy.commit(net.nextSeq++, [{ action: 'create', rkey: 'forged', text: 'forged' }], other.key))
        }
      })],
    ['a commit with one flipped bit of its signature', () =>
      refusedAs('block_hash', 2, async () => {
        for (const repo of net.repos) {
          const copy = Object.assign(new SignedRepo(), { ...repo, records: new Map(repo.records) })
          const bytes = await copy.commit(net.nextSeq++, [{ action: 'create', rkey: 'damaged', text: 'damaged' }])
          bytes[bytes.indexOf('csig') + 6] ^= 1
          net.host.send(bytes)
        }
      })],
    ['the accounts go on after it', async () => {
      const before = await relay.lastSeq()
      for (const repo of net.repos) net.host.send(await repo.commit(net.nextSeq++, [{ action: 'create', rkey: 'after', text: 'after' }]))
      await waitFor(async () => (await relay.lastSeq()) === before + 2, 'the next commits are logged')
      net.last = before + 2
    }],
  ]
}

function testCursors(net) {
  const { relay } = net
  return [
    ['getRepoStatus, getLatestCommit, listHosts answer', async () => {
      const { users, deleted } = net.traffic
      const dan = users[3]
      const head = net.frames.findLast((f) => f.body.repo === dan.did)
      equal((await relay.query('com.atproto.sync.getLatestCommit', { did: dan.did })).body, { cid: head.body.commit.toString(), rev: head.body.rev }, 'the latest commit')
      const { body } = await relay.query('com.atproto.sync.getRepoStatus', { did: deleted.did })
      equal([body.active, body.status], [false, 'deleted'], 'the status of a deleted account')
      const { hosts } = (await relay.query('com.atproto.sync.listHosts')).body
      equal(hosts.map((h) => [h.hostname, h.status, h.accountCount]), [[net.pdsName, 'active', 3], [net.hostName, 'active', 2]], 'the hosts')
    }],
    ['a cursor gives the rest over a restart, no cursor gives live only', async () => {
      const middle = Math.floor(net.last / 2)
      await relay.stop()
      await relay.start()
      const live = net.stream()
      await live.opened
      const rest = net.stream(middle)
      await rest.untilSeq(net.last)
      await waitFor(async () => (await relay.metric('ingest', 'relay_connections')) === 2, 'both hosts are connected again')
      const [repo] = net.repos
      net.host.send(await repo.commit(net.nextSeq++, [{ action: 'create', rkey: 'live', text: 'live' }]))
      net.last++
      await rest.untilSeq(net.last)
      await live.untilSeq(net.last)
      const numbers = (from, to) => Array.from({ length: to - from }, (_, i) => from + 1 + i)
      equal(rest.frames.map((f) => f.body.seq), numbers(middle, net.last), 'the numbers after the cursor')
      equal(live.frames.map((f) => f.body.seq), [net.last], 'the numbers without a cursor')
      for (const frame of rest.frames.slice(0, net.frames.length - middle))
        demand(Buffer.compare(frame.bytes, net.frames[frame.body.seq - 1].bytes) === 0, `seq ${frame.body.seq} has other bytes after the restart`)
      rest.close()
      live.close()
    }],
    ['a future cursor is refused in the stream', async () => {
      const stream = net.stream(net.last + 1000)
      await stream.until((s) => s.closed !== undefined, 'close')
      equal([stream.frames.length, stream.frames[0].header.op, stream.frames[0].body.error], [1, -1, 'FutureCursor'], 'the frame')
    }],
  ]
}

function testOperation(net) {
  const { relay } = net
  const tests = [['standpipe status shows the five processes', async () => {
    const lines = run(path.join(build, 'standpipe'), ['--config', relay.config, 'status']).trim().split('\n').slice(1)
    equal(lines.map((line) => line.split(/\s+/)[0]).sort(), ['fanout-0', 'ingest', 'resolve', 'store', 'validate-0'], 'the processes')
    for (const line of lines) demand(/^\S+\s+\d+\s+\S+\s+[\d.]+M\s/.test(line), `no pid, uptime and memory in: ${line}`)
  }]]
  for (const stage of ['ingest', 'resolve', 'validate', 'store', 'fanout'])
    tests.push([`promtool accepts the metrics of ${stage}`, async () => {
      const text = await relay.exposition(stage)
      demand(text.includes('relay_process_rss_bytes'), 'no memory account')
      run('promtool', ['check', 'metrics'], { input: text })
    }])
  tests.push(['the group stops in order on SIGTERM', () => relay.stop()])
  return tests
}

await testSimnet({ test, run, build, folder, demand, equal })
for (const [name, options] of [['plain', { tls: false, form: 'modern' }], ['tls', { tls: true, form: 'legacy' }]]) {
  setPrefix(`${name}, ${options.form} documents: `)
  const net = new Network(name, options)
  await net.start()
  const tests = [...testPassing(net), ...testRefusals(net), ...testCursors(net), ...testOperation(net)]
  // Without events from the hosts there is nothing to look at.
  let useful = true
  for (const [i, [title, body]] of tests.entries()) {
    if (!useful) console.log(`not ok real: ${name}: ${title}: not run, for want of events`)
    else useful = (await test(title, body)) || i >= 2
  }
  await net.stop()
}
await finish()
