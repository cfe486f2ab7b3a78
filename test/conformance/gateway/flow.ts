// Back-pressure both ways: a peer that does not read, a log that is slow, a broker that is late
// with its answer. Each costs a bounded amount, and no other connection waits for it.
import test from 'ava'
import { newMessage } from '../../support/broker.ts'
import type { Client, Driver } from './driver.ts'
import { type Served, serve, TOPIC, turn } from './server.ts'

const BODY_BYTES = 64 * 1024
/** More than the kernel takes of both ends, and the front-end's own bounds. */
const GREEDY_MESSAGES = 350
const SENT = 1_200
const SENT_BYTES = 10_000

/** Others are served until this has not changed for a while. */
async function settles(other: Client, read: () => Promise<number> | number): Promise<number> {
  let now = await read()
  for (let unchanged = 0; unchanged < 30; ) {
    const before = now
    await other.ping()
    now = await read()
    unchanged = now === before && now > 0 ? unchanged + 1 : 0
  }
  return now
}

async function fill(served: Served): Promise<void> {
  const body = 'x'.repeat(BODY_BYTES)
  for (let i = 0; i < GREEDY_MESSAGES; i += 50) {
    await served.host.broker.publish(Array.from({ length: 50 }, () => newMessage(TOPIC, { body })))
  }
}

export function flowCases(driver: Driver): void {
  const { name } = driver

  test(`${name}: a peer that asks for everything and reads nothing costs a bounded amount`, async (t) => {
    const served = await serve(t, driver, {
      broker: { inFlightBytesMax: 1 << 30, inFlightMax: 10_000 },
    })
    const other = await served.connect()
    // Where a group begins without a place of its own is each protocol's affair.
    const found = await served.connect()
    await found.reader(TOPIC, 'G')
    await found.leave()
    await fill(served)
    const peer = await served.peer()
    peer.send(driver.greedy(TOPIC, GREEDY_MESSAGES))
    peer.pause()
    const out = async (): Promise<number> => (await served.host.broker.status()).messagesOut
    const handedOut = await settles(other, out)
    t.true(handedOut < GREEDY_MESSAGES * 0.8, `${handedOut} of ${GREEDY_MESSAGES} messages`)
    peer.resume()
    while (peer.unreadBytes < GREEDY_MESSAGES * BODY_BYTES) await turn()
    t.pass()
  })

  test(`${name}: a sender that outruns the log is not read, and no other waits`, async (t) => {
    const served = await serve(t, driver)
    const [sender, other] = [await served.connect(), await served.connect()]
    const letGo = served.unsteady.hold('publish')
    const body = Buffer.alloc(SENT_BYTES)
    const sent = Array.from({ length: SENT }, (_, i) => {
      body.writeUInt32BE(i)
      return sender.send(TOPIC, Buffer.from(body))
    })
    const stored = async (): Promise<number> => (await served.host.broker.status()).messagesIn
    const taken = await settles(other, stored)
    t.true(taken < SENT * 0.8, `${taken} of ${SENT} messages`)
    letGo()
    t.deepEqual(new Set(await Promise.all(sent)), new Set(['accepted']))
    t.is((await served.stored()).length, SENT)
  })

  test(`${name}: a message is acknowledged when the broker has answered, others are served before`, async (t) => {
    const served = await serve(t, driver)
    const [sender, other] = [await served.connect(), await served.connect()]
    const letGo = served.unsteady.hold('publish')
    let verdict: string | undefined
    const sent = sender.send(TOPIC, 'x').then((answer) => {
      verdict = answer
    })
    while ((await served.stored()).length === 0) await turn()
    for (let i = 0; i < 10; i++) await other.ping()
    t.is(verdict, undefined)
    letGo()
    await sent
    t.is(verdict, 'accepted')
  })

  test(`${name}: while the broker is late with messages, its reader and others are served`, async (t) => {
    const served = await serve(t, driver)
    const [reading, other] = [await served.connect(), await served.connect()]
    const reader = await reading.reader(TOPIC, 'late')
    const letGo = [served.unsteady.hold('receive'), served.unsteady.hold('pull')]
    t.is(await other.send(TOPIC, 'x'), 'accepted')
    await reading.ping()
    await other.ping()
    for (const go of letGo) go()
    t.is((await reader.take()).body.toString(), 'x')
  })
}
