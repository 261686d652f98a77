// Every kind of traffic that a PDS sends, made through its public XRPC.
const ADMIN = 'Basic ' + Buffer.from('admin:loopback-admin').toString('base64')
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export class Pds {
  constructor(url) {
    this.url = url
  }

  async procedure(nsid, body, auth, type = 'application/json') {
    const headers = {}
    if (auth) headers.authorization = auth
    if (body !== undefined) headers['content-type'] = type
    const bytes = type === 'application/json' && body !== undefined ? JSON.stringify(body) : body
    const res = await fetch(`${this.url}/xrpc/${nsid}`, { method: 'POST', headers, body: bytes })
    const text = await res.text()
    if (!res.ok) throw new Error(`${nsid}: ${res.status} ${text}`)
    return text ? JSON.parse(text) : undefined
  }

  async createAccount(name) {
    const handle = `${name}.test`
    const answer = await this.procedure('com.atproto.server.createAccount', {
      handle,
      email: `${name}@example.com`,
      password: 'loopback-password',
    })
    return new Account(this, answer.did, handle, `Bearer ${answer.accessJwt}`)
  }

  takeDown(did, applied) {
    const subject = { $type: 'com.atproto.admin.defs#repoRef', did }
    const takedown = applied ? { applied, ref: 'test' } : { applied }
    return this.procedure('com.atproto.admin.updateSubjectStatus', { subject, takedown }, ADMIN)
  }

  deleteAccount(did) {
    return this.procedure('com.atproto.admin.deleteAccount', { did }, ADMIN)
  }
}

class Account {
  constructor(pds, did, handle, auth) {
    Object.assign(this, { pds, did, handle, auth })
  }

  procedure(nsid, body, type) {
    return this.pds.procedure(nsid, body, this.auth, type)
  }

  create(collection, record, rkey) {
    const validate = collection.startsWith('app.bsky') ? undefined : false
    return this.procedure('com.atproto.repo.createRecord', { repo: this.did, collection, rkey, record, validate })
  }

  put(collection, rkey, record) {
    return this.procedure('com.atproto.repo.putRecord', { repo: this.did, collection, rkey, record })
  }

  delete(uri) {
    const [, , , collection, rkey] = uri.split('/')
    return this.procedure('com.atproto.repo.deleteRecord', { repo: this.did, collection, rkey })
  }

  write(writes) {
    const typed = writes.map((w) => ({ ...w, $type: `com.atproto.repo.applyWrites#${w.$type}` }))
    return this.procedure('com.atproto.repo.applyWrites', { repo: this.did, writes: typed })
  }
}

const now = () => new Date().toISOString()
const post = (text) => ({ $type: 'app.bsky.feed.post', text, createdAt: now() })
const TID_DIGITS = '234567abcdefghijklmnopqrstuvwxyz'
const tid = (n) => '3jzfcijp' + Array.from({ length: 5 }, (_, i) => TID_DIGITS[Math.floor(n / 32 ** (4 - i)) % 32]).join('')
const profile = (displayName) => ({ $type: 'app.bsky.actor.profile', displayName })

async function records(user) {
  await user.put('app.bsky.actor.profile', 'self', profile('First'))
  await user.put('app.bsky.actor.profile', 'self', profile('Second, \u{1F4DC}'))
  const uris = []
  for (let i = 0; i < 20; i++) uris.push((await user.create('app.bsky.feed.post', post(`post ${i} ${'x'.repeat(i * 10)}`))).uri)
  for (let i = 3; i < 20; i += 4) await user.delete(uris[i])
  const odd = { $type: 'com.example.thing', nested: { a: [1, -1, 2 ** 53 - 1, null, true], b: 'ü' } }
  await user.create('com.example.thing', odd, 'k:_~.-1')
  await user.write(
    Array.from({ length: 40 }, (_, i) => ({
      $type: 'create',
      collection: 'app.bsky.graph.follow',
      rkey: tid(i * 7919),
      value: { $type: 'app.bsky.graph.follow', subject: user.did, createdAt: now() },
    })),
  )
  await user.write([
    { $type: 'update', collection: 'app.bsky.feed.post', rkey: uris[1].split('/').pop(), value: post('edited') },
    { $type: 'delete', collection: 'app.bsky.feed.post', rkey: uris[2].split('/').pop() },
    { $type: 'create', collection: 'app.bsky.feed.post', value: post('all three in one commit') },
  ])
  const { blob } = await user.procedure('com.atproto.repo.uploadBlob', Buffer.from(PIXEL, 'base64'), 'image/png')
  const embed = { $type: 'app.bsky.embed.images', images: [{ alt: '', image: blob }] }
  await user.create('app.bsky.feed.post', { ...post('with a picture'), embed })
}

// An account with a few commits of its own, of one write and of several, as random says.
export async function randomAccount(pds, name, random) {
  const user = await pds.createAccount(name)
  const collection = 'com.example.record'
  const have = []
  for (let commits = 2 + random(4); commits > 0; commits--) {
    const writes = []
    for (let n = 1 + random(random(4) === 0 ? 12 : 2); n > 0; n--) {
      const rkey = tid(random(32 ** 5))
      writes.push({ $type: 'create', collection, rkey, value: { $type: collection, text: 'x'.repeat(random(300)) } })
      have.push(rkey)
    }
    const old = have.slice(0, have.length - writes.length)
    if (old.length > 0 && random(2)) writes.push({ $type: 'update', collection, rkey: old[0], value: { $type: collection, n: random(1e9) } })
    if (old.length > 1 && random(2)) {
      const [rkey] = have.splice(1 + random(old.length - 1), 1)
      writes.push({ $type: 'delete', collection, rkey })
    }
    user.last = (await user.write(writes)).commit
  }
  return user
}

// Four accounts, all kinds of records, every account state. Gives the users, and the rev of the very last commit.
export async function makeTraffic(url, tag) {
  const pds = new Pds(url)
  const users = []
  for (const name of ['ann', 'bob', 'cid', 'dan']) users.push(await pds.createAccount(`${name}-${tag}`))
  for (const user of users) await records(user)
  const [ann, bob, cid, dan] = users
  ann.handle = `new-${ann.handle}`
  await ann.procedure('com.atproto.identity.updateHandle', { handle: ann.handle })
  await ann.procedure('com.atproto.server.deactivateAccount', {})
  await ann.procedure('com.atproto.server.activateAccount')
  await ann.create('app.bsky.feed.post', post('back again'))
  await pds.takeDown(bob.did, true)
  await pds.takeDown(bob.did, false)
  await bob.create('app.bsky.feed.post', post('taken down, and back'))
  await pds.deleteAccount(cid.did)
  const last = await dan.create('app.bsky.feed.post', post('the last one'))
  return { users, deleted: cid, last: { did: dan.did, rev: last.commit.rev } }
}
