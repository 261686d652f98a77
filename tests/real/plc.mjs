// A real PLC directory (@did-plc/server, in-memory database) on loopback.
//   node plc.mjs --port N [--form modern|legacy]
// The published server answers with the document form of 2023 (relative id, uncompressed point in an
// EcdsaSecp256k1VerificationKey2019, 404 for a tombstone). --form modern, the default, answers GET /DID from the same operation log
// in the form of today's directory (absolute id, Multikey, 410 for a tombstone).
import http from 'node:http'
import { parseArgs } from 'node:util'
import plcServer from '@did-plc/server'
import plc from '@did-plc/lib'

const { values: args } = parseArgs({
  options: { port: { type: 'string' }, form: { type: 'string', default: 'modern' } },
})
const db = plcServer.Database.mock()
const server = plcServer.PlcServer.create({ db, port: Number(args.port), version: '0.0.1' })

function modernDocument(did, data) {
  const keys = Object.entries(data.verificationMethods).map(([name, key]) => ({
    id: `${did}#${name}`,
    type: 'Multikey',
    controller: did,
    publicKeyMultibase: key.slice('did:key:'.length),
  }))
  const services = Object.entries(data.services).map(([name, service]) => ({
    id: `#${name}`,
    type: service.type,
    serviceEndpoint: service.endpoint,
  }))
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
    id: did,
    alsoKnownAs: data.alsoKnownAs,
    verificationMethod: keys,
    service: services,
  }
}

async function answerModern(did, res) {
  const answer = (status, body) => {
    res.writeHead(status, { 'content-type': status === 200 ? 'application/did+ld+json' : 'application/json' })
    res.end(JSON.stringify(body))
  }
  const log = await db.opsForDid(did)
  if (log.length === 0) return answer(404, { message: `DID not registered: ${did}` })
  const data = await plc.validateOperationLog(did, log)
  if (data === null) return answer(410, { message: `DID not available: ${did}` })
  answer(200, modernDocument(did, data))
}

function answer(req, res) {
  const did = decodeURIComponent(req.url.slice(1).split('?')[0])
  if (args.form === 'modern' && req.method === 'GET' && /^did:plc:[a-z2-7]+$/.test(did))
    answerModern(did, res).catch((error) => {
      res.writeHead(500)
      res.end(String(error))
    })
  else server.app(req, res)
}

// The package would listen on every address. Node's keep-alive of 5 s would close pooled connections under busy clients.
server.app.listen = (port) => http.createServer({ keepAliveTimeout: 120_000 }, answer).listen(port, '127.0.0.1')
await server.start()
console.log('ready')
process.on('SIGTERM', async () => {
  await server.destroy()
  process.exit(0)
})
