// A real PDS (@atproto/pds, SQLite on disk) on loopback.
//   node pds.mjs --port N --plc URL --data DIR [--hostname NAME]
// With the hostname localhost, DID documents carry http://localhost:PORT; with any other NAME[:PORT] they carry https://NAME[:PORT],
// and a TLS proxy has to stand there.
import fs from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { PDS, envToCfg, envToSecrets } from '@atproto/pds'

const { values: args } = parseArgs({
  options: {
    port: { type: 'string' },
    plc: { type: 'string' },
    data: { type: 'string' },
    hostname: { type: 'string', default: 'localhost' },
  },
})
fs.mkdirSync(args.data, { recursive: true })
const env = {
  devMode: true,
  port: Number(args.port),
  hostname: args.hostname,
  serviceDid: 'did:web:' + args.hostname.replace(':', '%3A'),
  serviceHandleDomains: ['.test'],
  dataDirectory: args.data,
  blobstoreDiskLocation: path.join(args.data, 'blobs'),
  blobstoreDiskTmpLocation: path.join(args.data, 'blobs-tmp'),
  didPlcUrl: args.plc,
  inviteRequired: false,
  disableSsrfProtection: true,
  rateLimitsEnabled: false,
  crawlers: [],
  adminPassword: 'loopback-admin',
  jwtSecret: 'loopback-jwt-secret-of-the-tests',
  plcRotationKeyK256PrivateKeyHex: '22'.repeat(32),
  bskyAppViewUrl: 'https://appview.invalid',
  bskyAppViewDid: 'did:example:invalid',
  modServiceUrl: 'https://moderation.invalid',
  modServiceDid: 'did:example:invalid',
}
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
// The subscription's upgrade handler hangs on the app's own listen: wrap it, so that it listens on loopback only.
const listen = pds.app.listen
pds.app.listen = (port, ...rest) => listen.call(pds.app, port, '127.0.0.1', ...rest)
await pds.start()
console.log('ready')
process.on('SIGTERM', async () => {
  await pds.destroy()
  process.exit(0)
})
