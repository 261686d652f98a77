// Commits with one thing changed: a bit, a field, a block or an op. Which, follows from a seed.
import { createHash } from 'node:crypto'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { encodeFrame } from './repos.mjs'
import { decodeFrame } from './stream.mjs'

// A generator of numbers below n (mulberry32).
export function makeRandom(seed) {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n)
  }
}

function readVarint(bytes, at) {
  let value = 0
  let shift = 1
  for (;; shift *= 128) {
    const byte = bytes[at++]
    value += (byte & 127) * shift
    if (byte < 128) return [value, at]
  }
}

function varint(value) {
  const bytes = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128)
  return Buffer.from([...bytes, value])
}

// The sections of a CAR: its header, then CID and data of each block.
function readCar(bytes) {
  const sections = []
  for (let at = 0; at < bytes.length; ) {
    const [size, start] = readVarint(bytes, at)
    sections.push(Buffer.from(bytes.subarray(start, start + size)))
    at = start + size
  }
  return sections
}

const writeCar = (sections) => Buffer.concat(sections.flatMap((s) => [varint(s.length), s]))

const otherCid = (cid, random) => {
  const bytes = Buffer.from(cid.bytes)
  bytes[4 + random(32)] ^= 1 << random(8)
  return CID.decode(bytes)
}
const otherTid = (tid, random) => {
  const digits = '234567abcdefghijklmnopqrstuvwxyz'
  const at = 6 + random(7)
  return tid.slice(0, at) + digits[(digits.indexOf(tid[at]) + 1 + random(31)) % 32] + tid.slice(at + 1)
}

const fields = {
  seq_zero: (b) => (b.seq = 0),
  seq_negative: (b) => (b.seq = -1),
  seq_missing: (b) => delete b.seq,
  repo: (b) => (b.repo = b.repo.slice(0, -1) + (b.repo.endsWith('a') ? 'b' : 'a')),
  rev: (b, random) => (b.rev = otherTid(b.rev, random)),
  rev_no_tid: (b) => (b.rev = `${b.rev}x`),
  since: (b, random) => b.since && (b.since = otherTid(b.since, random)),
  since_null: (b) => (b.since = null),
  since_missing: (b) => delete b.since,
  time_wrong: (b) => (b.time = 'yesterday'),
  commit: (b, random) => (b.commit = otherCid(b.commit, random)),
  prev_data: (b, random) => b.prevData && (b.prevData = otherCid(b.prevData, random)),
  prev_data_missing: (b) => delete b.prevData,
  prev_data_null: (b) => (b.prevData = null),
  too_big: (b) => (b.tooBig = true),
  blobs_missing: (b) => delete b.blobs,
  unknown: (b) => (b.zebra = [1, { a: 'b' }]),
  blocks_text: (b) => (b.blocks = 'blocks'),
}

const blocks = {
  missing: (s, random) => s.splice(1 + random(s.length - 1), 1),
  bit: (s, random) => {
    const block = s[1 + random(s.length - 1)]
    block[random(block.length)] ^= 1 << random(8)
  },
  twice: (s, random) => s.push(s[1 + random(s.length - 1)]),
  order: (s, random) => s.splice(1, 0, ...s.splice(1 + random(s.length - 1), 1)),
  foreign: (s) => s.push(Buffer.concat([Buffer.from('01711220', 'hex'), Buffer.from('15ec7bf0b50732b49f8248e07d24365338f9d4d02e7b8c5e3e2e2a1a1c9a0f7f', 'hex')])),
  // Hashed with SHA-256, but of a codec (dag-pb) that no block of a repository has.
  unblessed: (s) => s.push(Buffer.concat([Buffer.from('01701220', 'hex'), createHash('sha256').digest()])),
  cut: (s) => s.push(s.pop().subarray(0, -1)),
  another_root: (s, random) => s[0].writeUInt8(s[0][s[0].length - 12 - random(10)] ^ 1, s[0].length - 12),
}

const ops = {
  missing: (o, random) => o.splice(random(o.length), 1),
  twice: (o, random) => o.push({ ...o[random(o.length)] }),
  order: (o) => o.reverse(),
  action: (o, random) => {
    const op = o[random(o.length)]
    op.action = ['create', 'update', 'delete'].filter((a) => a !== op.action)[random(2)]
  },
  action_unknown: (o, random) => (o[random(o.length)].action = 'upsert'),
  cid: (o, random) => {
    const op = o[random(o.length)]
    if (op.cid) op.cid = otherCid(op.cid, random)
  },
  cid_null: (o, random) => (o[random(o.length)].cid = null),
  prev: (o, random) => {
    const op = o[random(o.length)]
    op.prev = otherCid(op.prev ?? op.cid, random)
  },
  prev_missing: (o, random) => delete o[random(o.length)].prev,
  path: (o, random) => {
    const op = o[random(o.length)]
    op.path = op.path.slice(0, -1) + (op.path.endsWith('2') ? '3' : '2')
  },
  path_bad: (o, random) => (o[random(o.length)].path += ' '),
  invented: (o, random) => o.push({ action: 'create', path: 'com.example.none/3l22222222222', cid: o[random(o.length)].cid ?? null }),
}

const pick = (table, random) => {
  const names = Object.keys(table)
  return names[random(names.length)]
}

// [kind, bytes], or null where there is nothing to change so.
export function mutate(frame, category, random) {
  if (category === 'bit') {
    const bytes = Buffer.from(frame)
    bytes[random(bytes.length)] ^= 1 << random(8)
    return ['bit', bytes]
  }
  const { body } = decodeFrame(frame)
  const changes = { field: fields, block: blocks, op: ops }[category]
  const name = pick(changes, random)
  if (category === 'op' && body.ops.length === 0) return null
  if (category === 'block') {
    const sections = readCar(body.blocks)
    changes[name](sections, random)
    body.blocks = writeCar(sections)
  } else {
    changes[name](category === 'op' ? body.ops : body, random)
  }
  const bytes = encodeFrame('#commit', body)
  return Buffer.compare(bytes, frame) === 0 ? null : [`${category}.${name}`, bytes]
}

const isWhole = (s) => createHash('sha256').update(s.subarray(36)).digest().equals(s.subarray(4, 36))

// Of its blocks only those that are what their CID says.
export function withoutDamagedBlocks(frame) {
  const { body } = decodeFrame(frame)
  const [header, ...sections] = readCar(body.blocks)
  body.blocks = writeCar([header, ...sections.filter(isWhole)])
  return encodeFrame('#commit', body)
}

// What hangs below those of its nodes that have no keys, by CID.
export function belowKeyless(frame) {
  const [, ...sections] = readCar(decodeFrame(frame).body.blocks)
  const nodes = sections.filter((s) => s[1] === 0x71 && isWhole(s)).map((s) => dagCbor.decode(s.subarray(36)))
  return nodes.filter(({ e, l }) => Array.isArray(e) && e.length === 0 && l).map(({ l }) => String(l))
}

export const isCommit = (frame) => decodeFrame(frame).header.t === '#commit'

// The names of the body's fields that are not as they were.
export function changedFields(original, frame) {
  const [before, after] = [decodeFrame(original).body, decodeFrame(frame).body]
  const same = (a, b) => a !== undefined && b !== undefined && Buffer.compare(dagCbor.encode(a), dagCbor.encode(b)) === 0
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => !same(before[name], after[name]))
}
