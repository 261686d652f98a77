// Two answers to "is this #commit right?", by libraries that share no code with the relay, nor with each other: null, or what is wrong.
//   atproto   @ipld/dag-cbor and @ipld/car, @atproto/crypto, @atproto/repo
//   atcute    @atcute/cbor, car, cid, crypto, mst and repo
// Both are asked for the same: that the blocks hash and the commit is signed, that the tree holds what the ops say, and that the ops,
// undone, lead to prevData. In which order they are undone is free, but the order decides which nodes are opened on the way; here it is
// one that opens no node without need.
import { createHash } from 'node:crypto'
import * as dagCbor from '@ipld/dag-cbor'
import { CarReader } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'
import { verifySignature } from '@atproto/crypto'
import { MST, MemoryBlockstore, readCarWithRoot, verifyProofs } from '@atproto/repo'
import * as CBOR from '@atcute/cbor'
import * as CAR from '@atcute/car'
import * as CID from '@atcute/cid'
import { NodeStore, NodeWrangler, MemoryBlockStore } from '@atcute/mst'
import { verifyRecord } from '@atcute/repo'
import { P256PublicKey, Secp256k1PublicKey, parsePublicMultikey } from '@atcute/crypto'
import { decodeFrame } from './stream.mjs'

export const EMPTY_TREE = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'

const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
function demand(condition, what) {
  if (!condition) throw new Error(what)
}

// An op says what its action needs; a path has one op.
function checkOps(ops, isLink) {
  demand(ops.length <= 200, 'too many ops')
  demand(new Set(ops.map((op) => op.path)).size === ops.length, 'two ops for one path')
  for (const op of ops) {
    demand(['create', 'update', 'delete'].includes(op.action), 'unknown action')
    demand(op.action === 'delete' ? op.cid === null : isLink(op.cid), 'cid does not fit the action')
    demand(op.action === 'create' ? op.prev === undefined : isLink(op.prev), 'prev does not fit the action')
    demand(op.path.split('/').length === 2, 'path without one slash')
  }
}

// Leading zero bits of the hash; the height in the tree is half of it.
function zeros(path) {
  const hash = createHash('sha256').update(path).digest('hex')
  return BigInt(`0x1${hash}`).toString(2).slice(1).indexOf('1')
}

// What was deleted comes back first, so that no two subtrees are merged which it parts. What was created goes from the lowest up, so
// that nothing of it is left to be merged with.
function undoingOrder(ops) {
  const rank = ({ action, path }) => (action === 'delete' ? -1 : zeros(path) >> 1)
  return [...ops].sort((a, b) => rank(a) - rank(b))
}

async function atproto(bytes, keys) {
  const { header, body } = decodeFrame(bytes)
  demand(header.op === 1 && header.t === '#commit', 'no commit')
  demand(same(Buffer.concat([dagCbor.encode(header), dagCbor.encode(body)]), bytes), 'not canonical DAG-CBOR')
  const car = await CarReader.fromBytes(body.blocks)
  const [root] = await car.getRoots()
  demand(root.equals(body.commit), 'root is not the commit')
  for await (const block of car.blocks())
    demand(same((await sha256.digest(block.bytes)).bytes, block.cid.multihash.bytes), 'block does not match its CID')
  const commit = dagCbor.decode((await car.get(root)).bytes)
  demand(commit.did === body.repo && commit.version === 3 && commit.rev === body.rev, 'commit object differs from the frame')
  const { sig, ...unsigned } = commit
  const key = keys.get(body.repo)
  demand(key, 'no key')
  demand(await verifySignature(key, dagCbor.encode(unsigned), sig), 'bad signature')
  checkOps(body.ops, (cid) => cid?.asCID === cid && cid !== undefined && cid !== null)
  const claims = body.ops.map((op) => {
    const [collection, rkey] = op.path.split('/')
    return { collection, rkey, cid: op.cid }
  })
  const { unverified } = await verifyProofs(body.blocks, claims, body.repo, key)
  demand(unverified.length === 0, 'op not proved')
  for (const op of body.ops) if (op.cid) demand(await car.has(op.cid), 'no record')
  demand(body.prevData || body.since === null, 'no prevData')
  const { blocks } = await readCarWithRoot(body.blocks)
  let mst = MST.load(new MemoryBlockstore(blocks), commit.data)
  for (const op of undoingOrder(body.ops)) {
    if (op.action === 'create') mst = await mst.delete(op.path)
    else if (op.action === 'update') mst = await mst.update(op.path, op.prev)
    else mst = await mst.add(op.path, op.prev)
  }
  const before = (await (await mst.trimTop()).getPointer()).toString()
  demand(before === (body.prevData?.toString() ?? EMPTY_TREE), 'inversion does not lead to prevData')
}

async function publicKey(didKey) {
  const parsed = parsePublicMultikey(didKey.slice('did:key:'.length))
  return (parsed.type === 'p256' ? P256PublicKey : Secp256k1PublicKey).importRaw(parsed.publicKeyBytes)
}

async function atcute(bytes, keys) {
  const [header, rest] = CBOR.decodeFirst(bytes)
  const body = CBOR.decode(rest)
  demand(header.op === 1 && header.t === '#commit', 'no commit')
  demand(same(Buffer.concat([CBOR.encode(header), CBOR.encode(body)]), bytes), 'not canonical DAG-CBOR')
  const carBytes = CBOR.fromBytes(body.blocks)
  const car = CAR.fromUint8Array(carBytes)
  const link = car.roots[0].$link
  demand(link === body.commit.$link, 'root is not the commit')
  const blocks = new Map()
  for (const { cid, bytes: data } of car) {
    demand(CID.toString(await CID.create(cid.codec, data)) === CID.toString(cid), 'block does not match its CID')
    blocks.set(CID.toString(cid), data)
  }
  const commit = CBOR.decode(blocks.get(link))
  demand(commit.did === body.repo && commit.version === 3 && commit.rev === body.rev, 'commit object differs from the frame')
  const didKey = keys.get(body.repo)
  demand(didKey, 'no key')
  const { sig, ...unsigned } = commit
  const key = await publicKey(didKey)
  demand(await key.verify(CBOR.fromBytes(sig), CBOR.encode(unsigned)), 'bad signature')
  checkOps(body.ops, (cid) => typeof cid?.$link === 'string')
  for (const { path, cid } of body.ops) {
    if (!cid) continue
    const [collection, rkey] = path.split('/')
    const record = await verifyRecord({ did: body.repo, collection, rkey, carBytes, publicKey: key })
    demand(record.cid === cid.$link, 'record has another CID')
  }
  demand(body.prevData || body.since === null, 'no prevData')
  const wrangler = new NodeWrangler(new NodeStore(new MemoryBlockStore(blocks)))
  let root = commit.data.$link
  for (const op of undoingOrder(body.ops)) {
    const before = root
    root = op.action === 'create' ? await wrangler.deleteRecord(root, op.path) : await wrangler.putRecord(root, op.path, op.prev)
    // It takes whatever is already so for done.
    demand(op.action === 'update' || root !== before, 'op without effect')
  }
  demand((root ?? EMPTY_TREE) === (body.prevData?.$link ?? EMPTY_TREE), 'inversion does not lead to prevData')
}

const answer = (check) => async (bytes, keys) => {
  try {
    await check(bytes, keys)
    return null
  } catch (error) {
    return String(error.message ?? error).split('\n')[0].slice(0, 100)
  }
}

export const oracles = { atproto: answer(atproto), atcute: answer(atcute) }
