// The relay's answers held against those of two independent implementations: commits of random repositories, made by the simulator and
// by a real PDS, must be accepted by all three; each changed in one bit, field, block and op, they must be answered alike, or the
// difference be one of those explained below.
//   node differential.mjs [REPOS [SEED]]
import fs from 'node:fs'
import path from 'node:path'
import { execFileSync, spawnSync } from 'node:child_process'
import { build, demand, finish, folder, freePort, node, stop, test } from './harness.mjs'
import { Stream, decodeFrame } from './stream.mjs'
import { Pds, makeTraffic, randomAccount } from './traffic.mjs'
import { belowKeyless, changedFields, isCommit, makeRandom, mutate, withoutDamagedBlocks } from './mutations.mjs'
import { oracles } from './oracles.mjs'
import { explain } from './explanations.mjs'

const repos = Number(process.argv[2] ?? 150)
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000_007)
const CHUNK = 500
// Of the commits that the real PDS makes, in a short run; and its repositories beside those of the traffic.
const REAL_COMMITS = repos < 1000 ? 50 : Infinity
const REAL_REPOS = Math.min(Math.ceil(repos / 20), 500)
const CATEGORIES = ['bit', 'field', 'block', 'op']

function message(frame) {
  const n = frame.length
  const head = n < 126 ? Buffer.from([0x82, n]) : n < 65536 ? Buffer.from([0x82, 126, n >> 8, n & 255]) : Buffer.alloc(10)
  if (n >= 65536) {
    head.writeUInt16BE(0x827f)
    head.writeBigUInt64BE(BigInt(n), 2)
  }
  return Buffer.concat([head, frame])
}

// What the simulator writes: a type, a length and bytes, over and over.
function* sections(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at + 1)
    yield [String.fromCharCode(bytes[at]), bytes.subarray(at + 5, at + 5 + size)]
    at += 5 + size
  }
}

// A source of commits: a folder of DID documents, the accounts' keys, and frames.
function readDocuments(documents) {
  const keys = new Map()
  for (const name of fs.readdirSync(documents)) {
    const document = JSON.parse(fs.readFileSync(path.join(documents, name), 'utf8'))
    keys.set(document.id, `did:key:${document.verificationMethod[0].publicKeyMultibase}`)
  }
  return keys
}

function simulated() {
  const simnet = path.join(build, 'tests/simnet/simnet')
  const corpus = path.join(folder, 'corpus')
  const options = { accounts: repos, active: repos, events: repos, all_first: 1, commits_only: 1, changes: 0, records: 40, plain: 1 }
  Object.assign(options, { seed, p256_percent: 20, legacy_percent: 0 })
  execFileSync(simnet, ['write', corpus, ...Object.entries(options).map(([k, v]) => `${k}=${v}`)])
  const file = path.join(folder, 'exported')
  execFileSync(simnet, ['export', corpus, file])
  const documents = path.join(folder, 'documents')
  fs.mkdirSync(documents)
  const frames = []
  let count = 0
  for (const [type, bytes] of sections(fs.readFileSync(file))) {
    if (type === 'D') fs.writeFileSync(path.join(documents, String(count++)), bytes)
    else if (type === 'F') frames.push(bytes)
  }
  return { documents, keys: readDocuments(documents), frames }
}

async function real(random) {
  const [plcPort, pdsPort] = [await freePort(), await freePort()]
  const plcUrl = `http://127.0.0.1:${plcPort}`
  const plc = await node('plc', 'plc.mjs', ['--port', plcPort], { ready: /ready/ })
  const pds = await node('pds', 'pds.mjs', ['--port', pdsPort, '--plc', plcUrl, '--data', path.join(folder, 'pds')], { ready: /ready/ })
  const stream = new Stream(`ws://localhost:${pdsPort}`, 0)
  await stream.opened
  const traffic = await makeTraffic(`http://localhost:${pdsPort}`, 'diff')
  const pdsApi = new Pds(`http://localhost:${pdsPort}`)
  let last = traffic.last.rev
  for (let i = 0; i < REAL_REPOS; i++) {
    const user = await randomAccount(pdsApi, `random-${i}`, random)
    traffic.users.push(user)
    last = user.last.rev
  }
  await stream.until((s) => s.frames.some(({ body }) => body.rev === last), 'the last commit')
  stream.close()
  const documents = path.join(folder, 'real-documents')
  fs.mkdirSync(documents)
  for (const { did } of traffic.users) {
    const answer = await fetch(`${plcUrl}/${did}`)
    if (answer.ok) fs.writeFileSync(path.join(documents, `${did.slice(8)}.json`), await answer.text())
  }
  const keys = readDocuments(documents)
  const frames = stream.frames.filter(({ header, body }) => header.t === '#commit' && keys.has(body.repo)).map(({ bytes }) => bytes)
  await stop(pds)
  await stop(plc)
  return { documents, keys, frames }
}

// Our verdicts, in the order of the frames.
function relayAnswers(documents, frames) {
  const file = path.join(folder, 'frames.ws')
  fs.writeFileSync(file, Buffer.concat(frames.map(message)))
  const { stdout, status, stderr } = spawnSync(path.join(build, 'standpipe'), ['check', '--document', documents, file], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  })
  demand(status === 0 || status === 1, `standpipe check: ${stderr}`)
  const verdicts = stdout.trim().split('\n').slice(0, -1).map((line) => line.split(' ')[1])
  demand(verdicts.length === frames.length, `${verdicts.length} verdicts for ${frames.length} frames`)
  return verdicts
}

// What the library says of the blocks that are whole, if the other one accepts them.
async function saysAlone(oracle, frame, keys) {
  const rest = withoutDamagedBlocks(frame)
  const other = Object.keys(oracles).find((name) => name !== oracle)
  const says = await oracles[oracle](rest, keys)
  return (await oracles[other](rest, keys)) === null ? says : null
}

// Whether the library alone misses the node that prevData names.
async function lacksRootBefore(oracle, frame, keys) {
  return (await saysAlone(oracle, frame, keys))?.includes(`cid=${decodeFrame(frame).body.prevData}`)
}

// Whether the library alone misses a node that hangs below one without keys.
async function lacksBelowKeyless(oracle, frame, keys) {
  const [, missing] = (await saysAlone(oracle, frame, keys))?.match(/^block not found: (\w+), expected type: mst nod/) ?? []
  return belowKeyless(frame).includes(missing)
}

class Comparison {
  constructor(random) {
    Object.assign(this, { random, asked: { unchanged: 0 }, alike: 0, classes: new Map(), unexplained: [] })
    for (const category of CATEGORIES) this.asked[category] = 0
  }

  async chunk({ documents, keys }, frames) {
    const cases = []
    for (const frame of frames) {
      cases.push({ category: 'unchanged', kind: 'unchanged', frame })
      for (const category of CATEGORIES) {
        const changed = mutate(frame, category, this.random)
        if (changed) cases.push({ category, kind: changed[0], frame: changed[1], original: frame })
      }
    }
    const verdicts = relayAnswers(documents, cases.map((c) => c.frame))
    for (const [i, c] of cases.entries()) await this.compare({ ...c, ours: verdicts[i] }, keys)
  }

  // The rule that decides between us and a library; undefined if there is none.
  async ruleOf({ oracle, kind, frame, original, ours, theirs }, keys) {
    for (const { rule, onlyIfUnneeded, onlyIfRootBefore, onlyIfBelowKeyless, onlyIfLarger, sameFields } of explain({ oracle, kind, ours, theirs })) {
      if (onlyIfUnneeded && (await oracles[oracle](withoutDamagedBlocks(frame), keys)) !== null) continue
      if (onlyIfRootBefore && !(await lacksRootBefore(oracle, frame, keys))) continue
      if (onlyIfBelowKeyless && !(await lacksBelowKeyless(oracle, frame, keys))) continue
      if (onlyIfLarger && decodeFrame(frame).body.blocks.length <= onlyIfLarger) continue
      if (sameFields && changedFields(original, frame).some((name) => sameFields.includes(name))) continue
      return `${oracle}: ${rule}`
    }
    return undefined
  }

  async compare({ category, kind, frame, original, ours }, keys) {
    this.asked[category]++
    let alike = true
    for (const [oracle, ask] of Object.entries(oracles)) {
      const theirs = await ask(frame, keys)
      if ((theirs === null) === (ours === 'accepted')) continue
      alike = false
      const rule = await this.ruleOf({ oracle, kind, frame, original, ours, theirs }, keys)
      const name = rule ?? `UNEXPLAINED ${oracle} ${kind}: we say ${ours}, it says ${theirs ?? 'accepted'}`
      this.classes.set(name, (this.classes.get(name) ?? 0) + 1)
      if (!rule) {
        this.unexplained.push(name)
        fs.writeFileSync(path.join(folder, `unexplained-${this.unexplained.length}`), frame)
      }
    }
    this.alike += alike
  }

  report() {
    for (const [name, count] of [...this.classes].sort((a, b) => b[1] - a[1])) console.log(`# ${String(count).padStart(7)}  ${name}`)
  }
}

async function compareAll(source, random, limit) {
  const comparison = new Comparison(random)
  const commits = source.frames.filter(isCommit)
  demand(commits.length > 0, 'no commits')
  while (commits.length > limit) commits.splice(random(commits.length), 1)
  for (let i = 0; i < commits.length; i += CHUNK) {
    await comparison.chunk(source, commits.slice(i, i + CHUNK))
    if (commits.length > CHUNK) console.log(`# ${Math.min(i + CHUNK, commits.length)} commits, ${comparison.unexplained.length} differences unexplained`)
  }
  comparison.report()
  const { asked, alike, unexplained } = comparison
  demand(unexplained.length === 0, `${unexplained.length} answers differ without an explanation, first: ${unexplained[0]}`)
  return `${JSON.stringify(asked)}, ${alike} answered alike by all`
}

console.log(`# differential: seed ${seed}`)
const random = makeRandom(seed)
await test(`differential: ${repos} simulated repositories`, () => compareAll(simulated(), random, Infinity))
await test('differential: repositories of a real PDS', async () => compareAll(await real(random), random, REAL_COMMITS))
await finish()
