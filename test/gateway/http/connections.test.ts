// What a client may do with its connection, and what ends it.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { nextTurn, systemClock } from '../../../src/clock.ts'
import type { GatewayContext } from '../../../src/port/gateway.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { ask, openHttp } from '../../support/http.ts'
import { LogLines } from '../../support/log-lines.ts'
import { numberOf } from '../../support/numbers.ts'
import { eventually } from '../../support/waiting.ts'

class RawHttp {
  text = ''
  readonly socket: Socket
  readonly closed: Promise<unknown>

  constructor(t: ExecutionContext, port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.closed = once(this.socket, 'close')
    this.socket.on('error', () => {})
    this.socket.setEncoding('utf8').on('data', (text: string) => {
      this.text += text
    })
    t.teardown(() => this.socket.destroy())
  }

  /** How many answers came. */
  get answers(): number {
    return this.text.split('HTTP/1.1 ').length - 1
  }
}

const GET = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n'

test('a connection takes one request after the other, also several at once', async (t) => {
  const { port, gateway } = await openHttp(t, { clock: systemClock })
  const peer = new RawHttp(t, port)
  peer.socket.write(`${GET}\r\n`)
  await eventually(async () => peer.answers === 1)
  peer.socket.write(`${GET}\r\n${GET}\r\n${GET}\r\n`)
  await eventually(async () => peer.answers === 4)
  t.is(gateway.connections, 1)
})

for (const [what, bytes, status] of [
  ['no HTTP', '\x10\x2a\x00\x04MQTT\r\n\r\n', 400],
  ['a header of 17 KiB', `${GET}X: ${'x'.repeat(17 * 1024)}\r\n\r\n`, 431],
  ['no Host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
] as const) {
  test(`${what} is refused with ${status}, and the connection closed`, async (t) => {
    const { port } = await openHttp(t, { clock: systemClock })
    const peer = new RawHttp(t, port)
    peer.socket.write(bytes)
    await peer.closed
    t.regex(peer.text, new RegExp(`^HTTP/1\\.1 ${status} `))
  })
}

for (const [what, method, path, status, allow] of [
  ['an unknown path', 'GET', '/nothing', 404, undefined],
  ['another method', 'DELETE', '/metrics', 405, 'GET'],
  ['a path that climbs', 'GET', '/healthz/../metrics', 404, undefined],
  ['a path with an encoded slash', 'GET', '/healthz%2f', 404, undefined],
] as const) {
  test(`${what} is answered with ${status}`, async (t) => {
    const { port, numbers } = await openHttp(t, { clock: systemClock })
    const answer = await ask(port, path, { method })
    t.is(answer.status, status)
    t.is(answer.headers['allow'], allow)
    t.is(answer.headers['content-type'], 'application/problem+json')
    t.is(answer.json()['status'], status)
    t.is(await numberOf(numbers, 'trivet_http_requests_total{status="4xx"}'), 1)
  })
}

test('HEAD is GET without the body', async (t) => {
  const { port } = await openHttp(t, { clock: systemClock })
  const { status, text, headers } = await ask(port, '/healthz', { method: 'HEAD' })
  t.is(status, 200)
  t.is(text, '')
  t.is(headers['content-length'], '16')
})

test('a client that does not finish its request is cut off', async (t) => {
  const clock = new FakeClock()
  const { port, gateway } = await openHttp(t, { clock, options: { requestMs: 5_000 } })
  const peer = new RawHttp(t, port)
  peer.socket.write(GET)
  await eventually(async () => gateway.connections === 1)
  await clock.advanceAsync(4_000)
  t.is(gateway.connections, 1)
  await clock.advanceAsync(2_000)
  await peer.closed
  t.is(peer.text, '')
})

test('a client that asks nothing more is cut off as long after its last answer', async (t) => {
  const clock = new FakeClock()
  const { port, gateway } = await openHttp(t, { clock, options: { requestMs: 5_000 } })
  const peer = new RawHttp(t, port)
  await eventually(async () => gateway.connections === 1)
  await clock.advanceAsync(4_000)
  peer.socket.write(`${GET}\r\n`)
  await eventually(async () => peer.answers === 1)
  await clock.advanceAsync(4_000)
  t.is(gateway.connections, 1)
  await clock.advanceAsync(2_000)
  await peer.closed
})

test('beyond the most requests at one time others are told to come again, and health is told', async (t) => {
  const { port, numbers } = await openHttp(t, { clock: systemClock, options: { requestsMax: 1 } })
  let isHeld = true
  let isAsked = false
  numbers.details([], async () => {
    isAsked = true
    while (isHeld) await nextTurn()
  })
  const first = ask(port, '/metrics')
  await eventually(async () => isAsked)
  const second = await ask(port, '/metrics')
  t.is(second.status, 503)
  t.is(second.headers['retry-after'], '1')
  t.is(second.json()['code'], 'BUSY')
  t.is((await ask(port, '/healthz')).status, 200)
  isHeld = false
  t.is((await first).status, 200)
})

test('a stop lets a request under way have its answer, and waits for no idle client', async (t) => {
  const { port, numbers, close, gateway } = await openHttp(t, { clock: systemClock })
  const idle = new RawHttp(t, port)
  idle.socket.write(`${GET}\r\n`)
  await eventually(async () => idle.answers === 1)
  let isHeld = true
  let isAsked = false
  numbers.details([], async () => {
    isAsked = true
    while (isHeld) await nextTurn()
  })
  const first = ask(port, '/metrics')
  await eventually(async () => isAsked)
  const closing = close(60_000)
  await idle.closed
  isHeld = false
  const { status, headers } = await first
  t.is(status, 200)
  t.is(headers['connection'], 'close')
  await closing
  t.is(gateway.connections, 0)
})

const PUT = 'PUT /api/v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'

test('a body is waited for as long behind many fields of the header', async (t) => {
  const clock = new FakeClock()
  const { port, gateway, auth } = await openHttp(t, { clock, options: { requestMs: 5_000 } })
  gateway.ready({ auth } as unknown as GatewayContext)
  const peer = new RawHttp(t, port)
  peer.socket.write(`${PUT}${'a:\r\n'.repeat(1100)}Content-Length: 9\r\n\r\n`)
  await eventually(async () => gateway.connections === 1)
  await eventually(async () => {
    await clock.advanceAsync(1_000)
    return gateway.connections === 0
  })
  t.is(peer.answers, 0)
})

test('a client that goes within its body is no defect', async (t) => {
  const log = new LogLines()
  const { port, gateway, auth, numbers } = await openHttp(t, { clock: systemClock, log })
  gateway.ready({ auth } as unknown as GatewayContext)
  const peer = new RawHttp(t, port)
  peer.socket.write(`${PUT}Content-Length: 9\r\n\r\n{`)
  await eventually(async () => gateway.connections === 1)
  peer.socket.end()
  await eventually(
    async () => (await numberOf(numbers, 'trivet_http_requests_total{status="5xx"}')) === 1,
  )
  t.deepEqual(log.lines, [])
})

test('a request that waits for its body takes no place of another', async (t) => {
  const options = { requestsMax: 1 }
  const { port, gateway, auth } = await openHttp(t, { clock: systemClock, options })
  gateway.ready({ auth } as unknown as GatewayContext)
  const slow = new RawHttp(t, port)
  slow.socket.write(`${PUT}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`)
  await eventually(async () => slow.answers === 1)
  t.is((await ask(port, '/metrics')).status, 200)
})

test('a client that went before its body was asked for leaves its room to others', async (t) => {
  const { port, gateway, auth } = await openHttp(t, { clock: systemClock })
  let isHeld = true
  let asked = 0
  const status = async () => {
    asked++
    while (isHeld) await nextTurn()
    return { settings: { bodyBytesMax: 32 * 1024 * 1024 } }
  }
  gateway.ready({ auth, broker: { status } } as unknown as GatewayContext)
  const peer = new RawHttp(t, port)
  const post = PUT.replace('PUT /api/v1/topics/t', 'POST /api/v1/topics/t/messages')
  peer.socket.write(`${post}Transfer-Encoding: chunked\r\n\r\n`)
  await eventually(async () => asked === 1)
  peer.socket.destroy()
  await eventually(async () => gateway.connections === 0)
  isHeld = false
  const headers = { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' }
  const question = { method: 'POST', headers, body: '-' }
  t.is((await ask(port, '/api/v1/topics/t/messages', question)).status, 400)
})

test('of requests that come one behind the other 32 wait, and others are told to come again', async (t) => {
  const { port, numbers } = await openHttp(t, { clock: systemClock })
  let isHeld = true
  let isAsked = false
  numbers.details([], async () => {
    isAsked = true
    while (isHeld) await nextTurn()
  })
  const peer = new RawHttp(t, port)
  peer.socket.write(`${GET.replace('healthz', 'metrics')}\r\n`)
  await eventually(async () => isAsked)
  peer.socket.write(`${GET}\r\n`.repeat(33))
  await eventually(
    async () => (await numberOf(numbers, 'trivet_http_requests_total{status="5xx"}')) === 2,
  )
  isHeld = false
  await eventually(async () => peer.answers === 34)
  t.is(peer.text.split('HTTP/1.1 503').length - 1, 2)
})
