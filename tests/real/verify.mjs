// Checks recorded frames with libraries that share no code with the relay.
//   canonical    @ipld/dag-cbor decodes header and body and encodes them to the same bytes
//   blocks       @ipld/car reads the CAR, multiformats hashes every block
//   signature    @atproto/crypto, with the key that the directory gives
//   proofs       @atproto/repo proves every op; @atcute/repo proves every created or updated record again
//   inversion    @atproto/repo's MST and @atcute/mst, unrelated to each other, undo the ops and must arrive at prevData
//   chain        rev rises, since and prevData join up within each account
import * as dagCbor from '@ipld/dag-cbor'
import { CarReader } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'
import { IdResolver, MemoryCache } from '@atproto/identity'
import { verifySignature } from '@atproto/crypto'
import { MST, MemoryBlockstore, readCarWithRoot, verifyProofs } from '@atproto/repo'
import { NodeStore, NodeWrangler, MemoryBlockStore } from '@atcute/mst'
import { verifyRecord } from '@atcute/repo'
import { P256PublicKey, Secp256k1PublicKey, parsePublicMultikey } from '@atcute/crypto'
import { decodeFrame } from './stream.mjs'

const same = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
function demand(condition, what) {
  if (!condition) throw new Error(what)
}

export class Verifier {
  // recordsEach: how many records of a commit are proved a second time, which takes a signature check each.
  constructor(plcUrl, { recordsEach = Infinity } = {}) {
    this.recordsEach = recordsEach
    this.ids = new IdResolver({ plcUrl, didCache: new MemoryCache(), timeout: 30_000, fetch: globalThis.fetch })
    this.keys = new Map()
    this.heads = new Map()
    this.counts = { frames: 0, commits: 0, syncs: 0, signatures: 0, ops: 0, records: 0, inverted: 0, first: 0, chained: 0 }
  }

  async key(did) {
    if (!this.keys.has(did)) this.keys.set(did, await this.ids.did.resolveAtprotoKey(did))
    return this.keys.get(did)
  }

  // Throws on the first rule that does not hold.
  async frame(bytes) {
    this.counts.frames++
    const { header, body } = decodeFrame(bytes)
    demand(same(Buffer.concat([dagCbor.encode(header), dagCbor.encode(body)]), bytes), 'not canonical DAG-CBOR')
    if (header.t === '#sync') {
      this.counts.syncs++
      const commit = await this.commitObject(body.did, body)
      this.heads.set(body.did, { rev: body.rev, data: commit.data.toString() })
    } else if (header.t === '#commit') {
      this.counts.commits++
      const commit = await this.commitObject(body.repo, body, body.commit)
      await this.proofs(body)
      if (body.prevData) await this.inversion(body, commit)
      else demand(body.since === null, 'no prevData in a commit that is not the first')
      if (!body.prevData) this.counts.first++
      this.chain(body, commit)
    }
  }

  async commitObject(did, body, expected) {
    const car = await CarReader.fromBytes(body.blocks)
    const [root, ...more] = await car.getRoots()
    demand(more.length === 0, 'more than one root')
    demand(!expected || root.equals(expected), 'root is not the commit')
    for await (const block of car.blocks())
      demand(same((await sha256.digest(block.bytes)).bytes, block.cid.multihash.bytes), 'block does not match its CID')
    const commit = dagCbor.decode((await car.get(root)).bytes)
    demand(commit.did === did && commit.version === 3 && commit.rev === body.rev, 'commit object differs from the frame')
    const { sig, ...unsigned } = commit
    demand(await verifySignature(await this.key(did), dagCbor.encode(unsigned), sig), 'bad signature')
    this.counts.signatures++
    return commit
  }

  async proofs(body) {
    const key = await this.key(body.repo)
    const claims = body.ops.map((op) => {
      const [collection, rkey] = op.path.split('/')
      return { collection, rkey, cid: op.action === 'delete' ? null : op.cid }
    })
    const { unverified } = await verifyProofs(body.blocks, claims, body.repo, key)
    demand(unverified.length === 0, `op not proved: ${JSON.stringify(unverified[0])}`)
    this.counts.ops += claims.length
    const parsed = parsePublicMultikey(key.slice('did:key:'.length))
    const publicKey = await (parsed.type === 'p256' ? P256PublicKey : Secp256k1PublicKey).importRaw(parsed.publicKeyBytes)
    for (const { collection, rkey, cid } of claims.filter((claim) => claim.cid).slice(0, this.recordsEach)) {
      const record = await verifyRecord({ did: body.repo, collection, rkey, carBytes: body.blocks, publicKey })
      demand(record.cid === cid.toString(), 'record has another CID')
      this.counts.records++
    }
  }

  async inversion(body, commit) {
    const want = body.prevData.toString()
    const { blocks } = await readCarWithRoot(body.blocks)
    const ops = [...body.ops].reverse()
    let mst = MST.load(new MemoryBlockstore(blocks), commit.data)
    for (const op of ops) {
      if (op.action === 'create') mst = await mst.delete(op.path)
      else if (op.action === 'update') mst = await mst.update(op.path, op.prev)
      else mst = await mst.add(op.path, op.prev)
    }
    demand((await (await mst.trimTop()).getPointer()).toString() === want, 'inversion by @atproto/repo is not prevData')
    const stored = new Map(blocks.entries().map((entry) => [entry.cid.toString(), entry.bytes]))
    const wrangler = new NodeWrangler(new NodeStore(new MemoryBlockStore(stored)))
    let root = commit.data.toString()
    for (const op of ops)
      root = op.action === 'create' ? await wrangler.deleteRecord(root, op.path) : await wrangler.putRecord(root, op.path, { $link: op.prev.toString() })
    demand(root === want, 'inversion by @atcute/mst is not prevData')
    this.counts.inverted++
  }

  chain(body, commit) {
    const head = this.heads.get(body.repo)
    if (head) {
      demand(body.rev > head.rev, 'rev did not rise')
      demand(body.since === head.rev, 'since is not the last rev')
      demand(body.prevData?.toString() === head.data, 'prevData is not the last data')
      this.counts.chained++
    }
    this.heads.set(body.repo, { rev: body.rev, data: commit.data.toString() })
  }
}
