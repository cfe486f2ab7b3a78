// Calls of etcd over HTTP: which endpoint gets them, and what is never sent twice.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { EtcdHttp } from '../../src/replication/election/etcd-http.ts'
import { pem } from '../support/certificates.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** @returns its address; `calls` counts what came */
async function endpoint(t: ExecutionContext, handle: Handler) {
  const seen = { calls: 0, address: '' }
  const server = createServer((request, response) => {
    seen.calls++
    request.resume().on('end', () => handle(request, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  seen.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return seen
}

const answers =
  (value: unknown, status = 200): Handler =>
  (_, response) =>
    void response.writeHead(status).end(JSON.stringify(value))

function client(t: ExecutionContext, endpoints: readonly string[]): EtcdHttp {
  const http = new EtcdHttp({ endpoints, timeoutMs: 5000 }, systemClock)
  t.teardown(() => http.close())
  return http
}

/** Takes connections no more. */
async function gone(t: ExecutionContext): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  t.log(`nothing listens at ${port}`)
  return `http://127.0.0.1:${port}`
}

const hangsUp: Handler = (request) => request.socket.destroy()

test('a call that was not sent goes to the next endpoint, be it repeatable or not', async (t) => {
  const good = await endpoint(t, answers({ ok: 1 }))
  const http = client(t, [await gone(t), good.address])
  t.deepEqual(await http.call('/v3/kv/txn', {}, false), { ok: 1 })
  t.deepEqual(await http.call('/v3/kv/txn', {}, false), { ok: 1 })
  t.is(good.calls, 2)
})

test('one that may have been carried out is sent again only if that is no harm', async (t) => {
  const [bad, good] = [await endpoint(t, hangsUp), await endpoint(t, answers({ ok: 1 }))]
  const http = client(t, [bad.address, good.address])
  await t.throwsAsync(http.call('/v3/kv/txn', {}, false), { code: 'UNREACHABLE' })
  t.is(good.calls, 0)
  const other = client(t, [bad.address, good.address])
  t.deepEqual(await other.call('/v3/kv/range', {}, true), { ok: 1 })
})

test('a member that cannot answer is passed over, a refusal is the answer of all', async (t) => {
  const refusal = { error: 'etcdserver: requested lease not found', code: 5 }
  const busy = await endpoint(t, answers({ error: 'no leader', code: 14 }, 503))
  const refusing = await endpoint(t, answers(refusal, 404))
  const good = await endpoint(t, answers({}))
  const http = client(t, [busy.address, refusing.address, good.address])
  await t.throwsAsync(http.call('/v3/kv/put', {}, true), { code: 'MESSAGE_NOT_FOUND' })
  t.is(good.calls, 0)
})

test('what is no answer of etcd is none', async (t) => {
  const page = await endpoint(t, (_, response) => response.end('<html>'))
  const long = await endpoint(t, (_, response) => response.end(`"${'x'.repeat(1024 * 1024)}"`))
  for (const { address } of [page, long]) {
    await t.throwsAsync(client(t, [address]).call('/v3/kv/range', {}, true), {
      code: 'UNREACHABLE',
    })
  }
})

for (const [code, message] of [
  [16, 'etcdserver: invalid auth token'],
  [3, 'etcdserver: revision of auth store is old'],
] as const) {
  test(`another token is asked for when etcd says: ${message}`, async (t) => {
    let tokens = 0
    const etcd = await endpoint(t, (request, response) => {
      if (request.url === '/v3/auth/authenticate')
        answers({ token: `t${++tokens}` })(request, response)
      else if (request.headers.authorization === 't2') answers({ ok: 1 })(request, response)
      else answers({ code, message }, 400)(request, response)
    })
    const http = new EtcdHttp(
      { endpoints: [etcd.address], timeoutMs: 5000, user: { name: 'u', password: 'p' } },
      systemClock,
    )
    t.teardown(() => http.close())
    t.deepEqual(await http.call('/v3/kv/txn', {}, false), { ok: 1 })
    t.is(tokens, 2)
  })
}

test('a certificate that was renewed is shown from then on', async (t) => {
  const shown: string[] = []
  const identity = { ca: pem('ca.pem'), cert: pem('server.pem'), key: pem('server.key') }
  const server = createTlsServer({ ...identity, requestCert: true }, (request, response) => {
    shown.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN))
    response.end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const client = { ...identity, cert: pem('client.pem'), key: pem('client.key') }
  const tls: ConnectionOptions = { ...client }
  const endpoints = [`https://127.0.0.1:${port}`]
  const http = new EtcdHttp({ endpoints, timeoutMs: 5000, tls }, systemClock)
  t.teardown(() => http.close())
  await http.call('/v3/kv/range', {}, true)
  Object.assign(tls, identity)
  await http.call('/v3/kv/range', {}, true)
  t.deepEqual(shown, ['client', 'server'])
})

test('what is answered in plain text is told', async (t) => {
  const text = 'CommonName of client sending a request against gateway will be ignored\nmore'
  const refusing = await endpoint(t, (_, response) => response.writeHead(400).end(text))
  const http = client(t, [refusing.address])
  await t.throwsAsync(http.call('/v3/kv/range', {}, true), {
    code: 'UNREACHABLE',
    message: /CommonName of client sending a request against gateway will be ignored\)/,
  })
})

test('a client that is closed ends its calls', async (t) => {
  const silent = await endpoint(t, () => http.close())
  const http = client(t, [silent.address])
  await t.throwsAsync(http.call('/v3/kv/range', {}, true), { code: 'UNREACHABLE' })
})
