// Accounts whose keys we hold, on either curve: registered at the real directory, their commits made by @atproto/repo. For what the
// real PDS cannot be made to send: P-256 accounts, forged and damaged commits.
import plc from '@did-plc/lib'
import * as dagCbor from '@ipld/dag-cbor'
import { Secp256k1Keypair, P256Keypair } from '@atproto/crypto'
import { Repo, MemoryBlockstore, BlockMap, blocksToCarFile } from '@atproto/repo'

const COLLECTION = 'app.bsky.feed.post'

export function encodeFrame(type, body) {
  return Buffer.concat([dagCbor.encode({ op: 1, t: type }), dagCbor.encode(body)])
}

export class SignedRepo {
  // pds: the URL that the DID document names.
  static async create(plcUrl, pds, curve, name) {
    const repo = new SignedRepo()
    repo.key = await (curve === 'p256' ? P256Keypair : Secp256k1Keypair).create()
    const rotation = await Secp256k1Keypair.create()
    repo.handle = `${name}.test`
    repo.did = await new plc.Client(plcUrl).createDid({
      signingKey: repo.key.did(),
      handle: repo.handle,
      pds,
      rotationKeys: [rotation.did()],
      signer: rotation,
    })
    repo.records = new Map()
    repo.storage = new MemoryBlockstore()
    return repo
  }

  // The first commit; signer: another key than the account's, for forgeries.
  async first(seq, signer = this.key) {
    const commit = await Repo.formatInitCommit(this.storage, this.did, signer, [])
    this.repo = await Repo.createFromCommit(this.storage, commit)
    return this.commitFrame(seq, commit, [], undefined)
  }

  // writes: [{ action, rkey, text? }]
  async commit(seq, writes, signer = this.key) {
    const typed = writes.map(({ action, rkey, text }) => ({
      action,
      collection: COLLECTION,
      rkey,
      ...(action === 'delete' ? {} : { record: { $type: COLLECTION, text, createdAt: new Date().toISOString() } }),
    }))
    const prevData = await this.repo.data.getPointer()
    const commit = await this.repo.formatCommit(typed, signer)
    this.repo = await this.repo.applyCommit(commit)
    const ops = []
    for (const { action, rkey } of writes) {
      const path = `${COLLECTION}/${rkey}`
      const prev = this.records.get(rkey)
      const cid = action === 'delete' ? null : await this.repo.data.get(path)
      if (cid) this.records.set(rkey, cid)
      else this.records.delete(rkey)
      ops.push({ action, path, cid, ...(prev ? { prev } : {}) })
    }
    return this.commitFrame(seq, commit, ops, prevData)
  }

  async commitFrame(seq, commit, ops, prevData) {
    const blocks = new BlockMap()
    blocks.addMap(commit.newBlocks)
    blocks.addMap(commit.relevantBlocks)
    return encodeFrame('#commit', {
      seq,
      time: new Date().toISOString(),
      repo: this.did,
      commit: commit.cid,
      rev: commit.rev,
      since: commit.since,
      blocks: await blocksToCarFile(commit.cid, blocks),
      ops,
      ...(prevData ? { prevData } : {}),
      rebase: false,
      tooBig: false,
      blobs: [],
    })
  }

  identity(seq) {
    return encodeFrame('#identity', { seq, time: new Date().toISOString(), did: this.did, handle: this.handle })
  }

  account(seq) {
    return encodeFrame('#account', { seq, time: new Date().toISOString(), did: this.did, active: true })
  }

  // A mix of creates, updates and deletes, several ops in some commits.
  async history(firstSeq, count) {
    let seq = firstSeq
    const frames = [this.identity(seq++), this.account(seq++), await this.first(seq++)]
    for (let i = 0; i < count; i++) {
      const writes = [{ action: 'create', rkey: `r${String(i * 31).padStart(6, '0')}`, text: `number ${i} ${'x'.repeat(i % 200)}` }]
      const have = [...this.records.keys()]
      if (i % 3 === 2) writes.push({ action: 'delete', rkey: have[(i * 7) % have.length] })
      if (i % 5 === 4) {
        const rkey = have[(i * 11 + 1) % have.length]
        if (!writes.some((w) => w.rkey === rkey)) writes.push({ action: 'update', rkey, text: `changed ${i}` })
      }
      frames.push(await this.commit(seq++, writes))
    }
    return frames
  }
}
