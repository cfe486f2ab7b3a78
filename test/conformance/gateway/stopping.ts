// A front-end that stops: it answers what came before, says goodbye in its protocol's terms, and
// waits for no peer that says nothing.
import test from 'ava'
import type { Driver } from './driver.ts'
import { serve, TOPIC, turn } from './server.ts'

/** Far more than a stop may take because of a silent peer. */
const DEADLINE_MS = 600_000
const SILENT_MS_MAX = 5_000

export function stoppingCases(driver: Driver): void {
  const { name } = driver

  test(`${name}: what was sent before a stop is answered before the goodbye`, async (t) => {
    const served = await serve(t, driver)
    const client = await served.connect()
    const letGo = served.unsteady.hold('publish')
    const order: string[] = []
    const sent = client.send(TOPIC, 'x').then((verdict) => order.push(verdict))
    const ended = client.ended.then((goodbye) => order.push(goodbye))
    while ((await served.stored()).length === 0) await turn()
    const closing = served.gateway.close(DEADLINE_MS)
    letGo()
    await sent
    await served.passing(Promise.all([ended, closing]))
    t.deepEqual(order, ['accepted', driver.goodbye])
    t.is(served.gateway.connections, 0)
  })

  test(`${name}: a silent peer holds no stop, and a slow broker none beyond the deadline`, async (t) => {
    const served = await serve(t, driver)
    const peer = await served.peer()
    peer.send(driver.hellos[0])
    await peer.read(1)
    const { clock } = served.host
    const before = clock.monotonic()
    await served.passing(served.gateway.close(DEADLINE_MS))
    t.true(clock.monotonic() - before < SILENT_MS_MAX)
    await peer.closed()
  })

  test(`${name}: a broker that does not answer holds a stop until its deadline and no longer`, async (t) => {
    const served = await serve(t, driver)
    const client = await served.connect()
    const letGo = served.unsteady.hold('publish')
    const sent = client.send(TOPIC, 'x')
    while ((await served.stored()).length === 0) await turn()
    const { clock } = served.host
    const before = clock.monotonic()
    await served.passing(served.gateway.close(10_000))
    const took = clock.monotonic() - before
    t.true(took >= 9_000 && took < 11_000, `${took} ms`)
    t.is(await sent, 'unanswered')
    letGo()
  })
}
