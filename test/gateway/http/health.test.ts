// Health and readiness, over real HTTP.
import test from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { GatewayContext } from '../../../src/port/gateway.ts'
import { ask, openHttp } from '../../support/http.ts'
import { freePort, startServer } from '../../support/server.ts'

/** The part of a context that readiness looks at. */
const contextOf = (status: object | Error, routes?: { readonly isKnown: boolean }) =>
  ({
    broker: {
      status: async () => {
        if (status instanceof Error) throw status
        return { writable: true, reason: undefined, isRebuilding: false, ...status }
      },
    },
    routes,
  }) as unknown as GatewayContext

const checksOf = async (port: number, query = '') => {
  const { status, json } = await ask(port, `/readyz${query}`)
  return { status, checks: json()['checks'] as Record<string, string> }
}

test('a server that runs is healthy and ready', async (t) => {
  const { port } = await startServer(t)
  const healthy = await ask(port('http'), '/healthz')
  t.is(healthy.status, 200)
  t.deepEqual(healthy.json(), { status: 'ok' })
  const ok = { stage: 'ok', broker: 'ok', writable: 'ok', views: 'ok', nameServer: 'ok' }
  t.deepEqual(await checksOf(port('http')), { status: 200, checks: ok })
})

test('before the broker is there the process is healthy and not ready, and so when it stops', async (t) => {
  const { gateway, port } = await openHttp(t, { clock: systemClock })
  t.is((await ask(port, '/healthz')).status, 200)
  t.deepEqual(await checksOf(port), { status: 503, checks: { stage: 'starting' } })
  gateway.ready(contextOf({}))
  t.is((await checksOf(port)).status, 200)
  gateway.stopping()
  t.deepEqual(await checksOf(port), { status: 503, checks: { stage: 'stopping' } })
})

for (const [what, status, check, said] of [
  ['takes no messages', { writable: false, reason: 'ENOSPC' }, 'writable', 'ENOSPC'],
  ['builds its views again', { isRebuilding: true }, 'views', 'being built again from the log'],
  ['does not answer', new BrokerError('UNREACHABLE', 'no master'), 'broker', 'no master'],
] as const) {
  test(`a broker that ${what} is not ready`, async (t) => {
    const { gateway, port } = await openHttp(t, { clock: systemClock })
    gateway.ready(contextOf(status))
    const ready = await checksOf(port)
    t.is(ready.status, 503)
    t.is(ready.checks[check], said)
  })
}

test('a check may be left out by its name, and a name that is none is refused', async (t) => {
  const { gateway, port } = await openHttp(t, { clock: systemClock })
  gateway.ready(contextOf({ writable: false, reason: 'ENOSPC' }, { isKnown: false }))
  t.is((await checksOf(port, '?exclude=writable')).status, 503)
  t.is((await checksOf(port, '?exclude=writable&exclude=nameServer')).status, 200)
  const refused = await ask(port, '/readyz?exclude=disk')
  t.is(refused.status, 400)
  t.is(refused.headers['content-type'], 'application/problem+json')
  t.regex(String(refused.json()['detail']), /no check 'disk'.*writable/)
})

test('a broker whose name servers do not answer is not ready', async (t) => {
  const nameServers = [`127.0.0.1:${await freePort()}`]
  const { port } = await startServer(t, { role: 'broker', config: { broker: { nameServers } } })
  const ready = await checksOf(port('http'))
  t.is(ready.status, 503)
  t.is(ready.checks['nameServer'], 'none knows this broker')
})

test('a name server alone has no HTTP', async (t) => {
  const { server } = await startServer(t, { role: 'namesrv' })
  t.throws(() => server.address('http'))
})
