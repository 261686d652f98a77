// The simulated network's own commits, checked by the independent verifiers: as many of each kind as QUOTA says, on each curve.
// A corpus is written and exported by build/tests/simnet/simnet; one worker a processor checks the accounts that fall to it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { getKey, getPds } from '@atproto/identity'
import { Verifier } from './verify.mjs'
import { decodeFrame } from './stream.mjs'

const KINDS = ['create', 'update', 'delete', 'multi', 'first', 'rotated', 'sync']
const CURVES = { zQ3: 'k256', zDn: 'p256' }
const QUOTA = 500
const SETTINGS = 'hosts=200 accounts=26000 active=26000 all_first=1 events=64000 records=40 changes=15000 p256_percent=50 web_percent=10 legacy_percent=30'

// Keys from the documents of the export, instead of from a directory.
class ExportVerifier extends Verifier {
  constructor() {
    super('http://127.0.0.1:1', { recordsEach: 1 })
    this.rotated = new Set()
  }

  document(doc) {
    const key = getKey(doc)
    if (!key || !/^https:\/\/h\d{5}\.sim\.test:\d+$/.test(getPds(doc) ?? '')) throw new Error(`no key or PDS: ${JSON.stringify(doc)}`)
    const known = this.keys.get(doc.id)
    if (known && known !== key) this.rotated.add(doc.id)
    this.keys.set(doc.id, key)
  }

  kinds({ header, body }) {
    if (header.t === '#sync') return ['sync']
    const kinds = new Set(body.ops.map((op) => op.action))
    if (body.ops.length > 1) kinds.add('multi')
    if (!body.prevData) kinds.add('first')
    if (this.rotated.has(body.repo)) kinds.add('rotated')
    return [...kinds]
  }
}

function* sections(file) {
  const bytes = fs.readFileSync(file)
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32LE(at + 1)
    yield [String.fromCharCode(bytes[at]), bytes.subarray(at + 5, at + 5 + size)]
    at += 5 + size
  }
}

async function work({ file, mine, of, quota }) {
  const verifier = new ExportVerifier()
  const counts = Object.fromEntries(Object.values(CURVES).flatMap((curve) => KINDS.map((kind) => [`${curve} ${kind}`, 0])))
  const isMine = (did) => Buffer.from(did.slice(-16)).reduce((sum, byte) => sum + byte, 0) % of === mine
  for (const [type, bytes] of sections(file)) {
    if (type === 'D') {
      const doc = JSON.parse(bytes)
      if (isMine(doc.id)) verifier.document(doc)
      continue
    }
    const frame = decodeFrame(bytes)
    const did = frame.body.repo ?? frame.body.did
    if (type === 'R' || !isMine(did) || !['#commit', '#sync'].includes(frame.header.t)) continue
    const curve = CURVES[verifier.keys.get(did).slice('did:key:'.length).slice(0, 3)]
    // Creates come along with the other kinds.
    const wanted = verifier.kinds(frame).filter((kind) => kind !== 'create' && counts[`${curve} ${kind}`] < quota)
    if (wanted.length > 0) {
      await verifier.frame(bytes)
      for (const kind of verifier.kinds(frame)) counts[`${curve} ${kind}`]++
    } else verifier.heads.delete(did)
    if (frame.header.t === '#commit') verifier.rotated.delete(did)
    if (Object.values(counts).every((count) => count >= quota)) break
  }
  return { counts, checked: verifier.counts }
}

function sum(objects) {
  const total = {}
  for (const object of objects) for (const [key, value] of Object.entries(object)) total[key] = (total[key] ?? 0) + value
  return total
}

function verifyExport(file) {
  const of = os.availableParallelism()
  return Promise.all(Array.from({ length: of }, (_, mine) => new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { file, mine, of, quota: Math.ceil(1.3 * QUOTA / of) } })
    worker.on('message', resolve)
    worker.on('error', reject)
  })))
}

export async function testSimnet({ test, run, build, folder, demand, equal }) {
  await test('the simulated network: independent verifiers find its commits right', async () => {
    const [simnet, corpus, file] = [path.join(build, 'tests/simnet/simnet'), path.join(folder, 'corpus'), path.join(folder, 'export')]
    run(simnet, ['write', corpus, ...SETTINGS.split(' ')])
    run(simnet, ['export', corpus, file])
    fs.rmSync(corpus)
    const results = await verifyExport(file)
    fs.rmSync(file)
    const [counts, checked] = [sum(results.map((r) => r.counts)), sum(results.map((r) => r.checked))]
    for (const [kind, count] of Object.entries(counts)) demand(count >= QUOTA, `only ${count} of ${kind}`)
    equal(checked.signatures, checked.commits + checked.syncs, 'signatures checked')
    equal(checked.inverted + checked.first, checked.commits, 'commits inverted')
    demand(checked.chained > 0, 'no commit follows another')
    return JSON.stringify({ ...checked, kinds: counts })
  })
}

if (!isMainThread) parentPort.postMessage(await work(workerData))
