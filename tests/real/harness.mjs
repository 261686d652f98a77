// What the real-component tests share: test lines, children, free ports, a relay group, TLS.
import { spawn, execFileSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export const here = path.dirname(fileURLToPath(import.meta.url))
export const build = path.resolve(process.env.STANDPIPE_BUILD ?? path.join(here, '../../build'))
export const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'standpipe-real-'))

let failed = 0
let prefix = ''
export const setPrefix = (text) => (prefix = text)

// Thrown by a test that cannot be made here: counted as skipped, never as passed.
export class Skip extends Error {}

export async function test(name, run) {
  try {
    const detail = await run()
    console.log(`ok real: ${prefix}${name}${detail ? `: ${detail}` : ''}`)
  } catch (error) {
    if (error instanceof Skip) {
      console.log(`skip real: ${prefix}${name}: ${error.message}`)
      return true
    }
    failed++
    console.log(`not ok real: ${prefix}${name}`)
    console.log(String(error.stack ?? error).replace(/^/gm, '# '))
    return false
  }
  return true
}

export function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)]
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`)
}

export function demand(condition, what) {
  if (!condition) throw new Error(what)
}

// Asks again every 20 ms until what it gives is truthy.
export async function waitFor(condition, what, seconds = 60) {
  const limit = Date.now() + seconds * 1000
  let last
  while (Date.now() < limit) {
    try {
      const value = await condition()
      if (value) return value
      last = undefined
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${what}: not within ${seconds} s${last ? ` (${last.message})` : ''}`)
}

const given = new Set()
export async function freePort() {
  for (;;) {
    const server = net.createServer()
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address()
    await new Promise((resolve) => server.close(resolve))
    if (!given.has(port)) {
      given.add(port)
      return port
    }
  }
}

const children = new Set()
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')))

// A child whose output goes to a file; ready when a line of it matches.
export async function start(name, command, args, { ready, env = {} } = {}) {
  const log = path.join(folder, `${name}.log`)
  const child = spawn(command, args, { cwd: here, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const out = fs.createWriteStream(log, { flags: 'a' })
  let text = ''
  child.name = name
  child.log = log
  child.exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })))
  children.add(child)
  child.exited.then(() => children.delete(child))
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      out.write(data)
      if (ready) text += data
    })
  if (ready) {
    let ended = false
    child.exited.then(() => (ended = true))
    await waitFor(() => ended || ready.test(text), `${name} is ready (${log})`)
    if (ended) throw new Error(`${name} ended at its start:\n${text}`)
    text = ''
  }
  return child
}

export async function stop(child, signal = 'SIGTERM') {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  return child.exited
}

export const node = (name, script, args, options) => start(name, process.execPath, [path.join(here, script), ...args], options)

// Runs to its end; gives what it printed.
export function run(command, args, options = {}) {
  return execFileSync(command, args, { cwd: here, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], ...options })
}

export class Relay {
  constructor(name, settings) {
    Object.assign(this, { name, settings, dir: path.join(folder, name) })
    fs.mkdirSync(path.join(this.dir, 'run'), { recursive: true })
  }

  async start() {
    const stages = ['ingest', 'resolve', 'validate', 'store', 'fanout']
    if (!this.port) {
      this.port = await freePort()
      this.metricsPorts = {}
      for (const stage of stages) this.metricsPorts[stage] = await freePort()
      this.url = `ws://localhost:${this.port}`
      this.http = `http://localhost:${this.port}`
      const lines = [`[group]`, `data_dir = ${this.dir}/data`, `run_dir = ${this.dir}/run`]
      const sections = { ...this.settings }
      for (const stage of stages) sections[stage] = { metrics_port: this.metricsPorts[stage], ...sections[stage] }
      Object.assign(sections.fanout, { port: this.port })
      for (const [section, keys] of Object.entries(sections)) {
        lines.push(`[${section}]`)
        for (const [key, value] of Object.entries(keys)) lines.push(`${key} = ${value}`)
      }
      this.config = path.join(this.dir, 'standpipe.conf')
      fs.writeFileSync(this.config, lines.join('\n') + '\n')
    }
    this.child = await start(this.name, path.join(build, 'standpipe'), ['--config', this.config, 'run'], { ready: /ready on/ })
    await waitFor(async () => (await fetch(`${this.http}/_health`)).ok, 'the relay is healthy')
  }

  async stop() {
    const { code, signal } = await stop(this.child)
    equal({ code, signal }, { code: 0, signal: null }, `the end of ${this.name}`)
  }

  async exposition(stage) {
    return (await fetch(`http://127.0.0.1:${this.metricsPorts[stage]}/metrics`)).text()
  }

  // The sum over the samples of a family whose labels contain the text.
  async metric(stage, family, labels = '') {
    let sum = 0
    for (const line of (await this.exposition(stage)).split('\n'))
      if ((line.startsWith(`${family}{`) || line.startsWith(`${family} `)) && line.includes(labels)) sum += Number(line.split(' ').pop())
    return sum
  }

  async lastSeq() {
    return (await this.metric('store', 'relay_log_next_seq')) - 1
  }

  async requestCrawl(hostname) {
    const res = await fetch(`${this.http}/xrpc/com.atproto.sync.requestCrawl`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ hostname }),
    })
    return { status: res.status, text: await res.text() }
  }

  async query(nsid, params = {}) {
    const res = await fetch(`${this.http}/xrpc/${nsid}?${new URLSearchParams(params)}`)
    return { status: res.status, body: await res.json() }
  }
}

// A certificate authority and one certificate for all names, made on the fly.
export function makeCertificates(names) {
  const ca = path.join(folder, 'ca.pem')
  const key = path.join(folder, 'key.pem')
  const cert = path.join(folder, 'cert.pem')
  if (!fs.existsSync(ca)) {
    const made = path.join(folder, 'ext')
    fs.writeFileSync(made, `subjectAltName=${names.map((n) => `DNS:${n}`).join(',')}\n`)
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    run('openssl', ['req', '-x509', ...ec, '-keyout', `${ca}.key`, '-out', ca, '-days', '2', '-subj', '/CN=test ca'])
    run('openssl', ['req', ...ec, '-keyout', key, '-out', `${cert}.csr`, '-subj', '/CN=test'])
    run('openssl', ['x509', '-req', '-in', `${cert}.csr`, '-CA', ca, '-CAkey', `${ca}.key`, '-out', cert, '-days', '2', '-extfile', made])
  }
  return { ca, key, cert }
}

// nginx in front of plain servers: [{ name, port, upstream }]
export async function startNginx(name, servers, { key, cert }) {
  const dir = path.join(folder, name)
  fs.mkdirSync(dir)
  const blocks = servers.map(
    (s) => `server { listen 127.0.0.1:${s.port} ssl; server_name ${s.name}; location / { proxy_pass http://127.0.0.1:${s.upstream};
      proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host; proxy_read_timeout 1h; proxy_buffering off; } }`,
  )
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${dir}/${t};`).join(' ')
  const conf = `daemon off; pid ${dir}/pid; error_log stderr notice; events { }
    http { access_log off; ${temp} ssl_certificate ${cert}; ssl_certificate_key ${key};
    map $http_upgrade $connection_upgrade { default upgrade; '' close; } ${blocks.join('\n')} }`
  fs.writeFileSync(path.join(dir, 'nginx.conf'), conf)
  const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  return start(name, 'nginx', ['-e', 'stderr', '-c', path.join(dir, 'nginx.conf')], { ready: /start worker process/, env })
}

export async function finish() {
  await Promise.all([...children].map((child) => stop(child)))
  if (failed === 0) fs.rmSync(folder, { recursive: true })
  else console.log(`# logs are in ${folder}`)
  process.exit(failed ? 1 : 0)
}
