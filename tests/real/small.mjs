// The smallest network with real parts: a directory, one host, one account, and a relay that reads it. For tests of what stands behind
// the relay.
import { Relay, freePort, node, stop, waitFor } from './harness.mjs'
import { Host } from './host.mjs'
import { SignedRepo } from './repos.mjs'

const HISTORY = 30
const LENGTHS = [60_000, 120_000, 900_000] // of records, for frames with each form of length; the last does not fit a socket's buffer

export class SmallNetwork {
  // settings: of the relay, beside what the network needs.
  static async start(name, settings) {
    const net = new SmallNetwork()
    const [plcPort, hostPort] = [await freePort(), await freePort()]
    const plcUrl = `http://127.0.0.1:${plcPort}`
    net.plc = await node(`${name}-plc`, 'plc.mjs', ['--port', plcPort], { ready: /ready/ })
    net.host = await Host.start(hostPort)
    const repo = await SignedRepo.create(plcUrl, `http://localhost:${hostPort}`, 'k256', name)
    net.repo = repo
    for (const frame of await repo.history(1, HISTORY)) net.host.send(frame)
    net.seq = net.host.frames.length
    net.relay = new Relay(name, {
      ...settings,
      resolve: { plc_url: plcUrl },
      ingest: { backfill: true, backoff_min: '100ms', hosts: `localhost:${hostPort}` },
      network: { plain_hosts: 'localhost:*, 127.0.0.1:*' },
    })
    await net.relay.start()
    for (const length of LENGTHS) await net.event(length)
    return net
  }

  // One more event, with a record of about this length; returns when it is logged.
  async event(length = 10) {
    const rkey = `more${this.seq}`
    this.host.send(await this.repo.commit(++this.seq, [{ action: 'create', rkey, text: 'x'.repeat(length) }]))
    await waitFor(async () => (await this.relay.lastSeq()) === this.seq, `${this.seq} events are logged`)
  }

  async stop() {
    await this.relay.stop()
    this.host.stop()
    await stop(this.plc)
  }
}
