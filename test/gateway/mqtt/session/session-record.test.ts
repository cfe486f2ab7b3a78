import test from 'ava'
import fc from 'fast-check'
import { SharedSlice } from '../../../../src/clock.ts'
import type { Home } from '../../../../src/gateway/mqtt/outgoing/home.ts'
import { InFlight, RELEASED, SENT } from '../../../../src/gateway/mqtt/session/in-flight.ts'
import { QueuePlaces } from '../../../../src/gateway/mqtt/session/queue-places.ts'
import { NEVER, Session } from '../../../../src/gateway/mqtt/session/session.ts'
import {
  decodeSession,
  encodeSession,
} from '../../../../src/gateway/mqtt/session/session-record.ts'
import type { Receipt } from '../../../../src/model/message.ts'
import { logPosition, queueOffset } from '../../../../src/model/positions.ts'
import { tagFilterOf } from '../../../../src/model/tag-filter.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { homeOf, placeOn, subscriptionOf } from '../../../support/mqtt/mqtt-places.ts'
import { countTurns, endSlicesAtOnce } from '../../../support/turns.ts'

/** With these further parts. */
const decoded = (clientId: string, bytes: Buffer, ownBroker: string, parts: Buffer[] = []) =>
  decodeSession(clientId, bytes, {
    ownBroker,
    slice: new SharedSlice(new FakeClock()),
    loadPart: async (number) => parts[number - 1],
  })

function fullSession(): Session {
  const session = new Session('client/ä')
  session.expiryMs = NEVER
  session.disconnectedMs = 1_700_000_000_000
  const options = { qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 1 } as const
  session.subscriptions.set({
    ...{ ...options, text: 'a/#', filter: 'a/#', share: undefined, id: 7 },
    places: [
      {
        ...placeOn('%LMQ%a/#', 'broker-b', 12),
        next: queueOffset(2 ** 40),
        floor: logPosition(2 ** 50),
      },
    ],
    bound: 'owned',
    starts: undefined,
  })
  const share = { group: 'g', topic: 'orders', filter: tagFilterOf(['x', 'y']) }
  session.subscriptions.set({
    ...{ ...options, text: '$share/g/orders/x', filter: 'orders/x', share, id: undefined },
    ...{ places: [], bound: 'owned', starts: undefined },
  })
  session.inFlight.restore(
    [
      { packetId: 3, home: homeOf(100), qos: 1, state: SENT },
      { packetId: 4, home: homeOf(2 ** 40, 'other', 'broker-b'), qos: 2, state: RELEASED },
    ],
    5,
  )
  session.inbound.add(9)
  session.retainedDue.set('a/#', 'a/b')
  session.will = {
    ...{ topic: 'w', payload: Buffer.from([0, 255]), qos: 1, retain: true, delayMs: 1000 },
    properties: { correlationData: Buffer.from([1, 2]), user: [['a', 'b']], willDelay: 1 },
  }
  return session
}

test('a session comes back as it was saved', async (t) => {
  const session = fullSession()
  const again = (await decoded(
    session.clientId,
    encodeSession(session, 'broker-a', true),
    'broker-a',
  ))!
  t.is(again.epoch, session.epoch)
  t.deepEqual([again.expiryMs, again.disconnectedMs], [session.expiryMs, session.disconnectedMs])
  t.deepEqual([...again.subscriptions.values()], [...session.subscriptions.values()])
  const entries = (one: Session) =>
    [...one.inFlight.slots()].map((slot) => one.inFlight.entryAt(slot))
  t.deepEqual(entries(again), entries(session))
  t.is(again.inFlight.nextId, 5)
  t.deepEqual([...again.retainedDue], [['a/#', 'a/b']])
  t.deepEqual(again.will, session.will)
  t.is(again.inbound.find(9)?.state, 'unknown', 'whether it was stored, only the log knows')
  t.is(again.inbound.nextSerial, session.inbound.nextSerial)
})

test('places on the queues of topics come back as they were saved', async (t) => {
  const session = new Session('c')
  const rows = [
    { topic: 'orders', brokerName: 'broker-a', offsets: [3, -1, 2 ** 40], bornMs: [7, 0, 9] },
    { topic: 'orders', brokerName: 'broker-b', offsets: [0], bornMs: [0] },
  ]
  session.places = new QueuePlaces(rows)
  const starts = new QueuePlaces(rows.slice(1))
  session.subscriptions.set({ ...subscriptionOf('a', []), starts })
  const again = (await decoded('c', encodeSession(session, 'broker-b', true), 'broker-b'))!
  t.deepEqual([...again.places!.rows()], rows)
  t.deepEqual([...again.subscriptions.get('a')!.starts!.rows()], rows.slice(1))
  t.is(again.places!.get({ topic: 'orders', brokerName: 'broker-a', queueId: 1 }), undefined)
})

test('a broker in the same process may get another name', async (t) => {
  const saved = encodeSession(fullSession(), 'broker-b', true)
  const again = (await decoded('c', saved, 'broker-c'))!
  const slots = [...again.inFlight.slots()]
  t.deepEqual(
    slots.map((slot) => again.inFlight.homeAt(slot).brokerName),
    ['broker-a', 'broker-c'],
  )
  t.is(again.subscriptions.get('a/#')?.places[0]?.brokerName, 'broker-c')
})

test('QoS 1 of a group is not kept with the session, QoS 2 is', async (t) => {
  const session = new Session('c')
  const receipt = {} as Receipt
  session.inFlight.add(homeOf(1), 1, receipt)
  session.inFlight.add(homeOf(2), 2, receipt)
  const again = (await decoded('c', encodeSession(session, 'broker-a', true), 'broker-a'))!
  t.deepEqual(
    [...again.inFlight.slots()].map((slot) => again.inFlight.entryAt(slot).packetId),
    [2],
  )
})

test('what is no session is none, and never an exception', async (t) => {
  const whole = encodeSession(fullSession(), 'broker-a', true)
  const broken = [
    Buffer.alloc(0),
    Buffer.from('null'),
    Buffer.from('{}'),
    Buffer.from([0xff, 0xfe]),
    whole.subarray(0, whole.length - 1),
    Buffer.from(whole.toString().replace('"format":2', '"format":5')),
    Buffer.from(whole.toString().replace(/"homes":\[\[.*?\]\]/, '"homes":[]')),
    Buffer.from(whole.toString().replace('"nextId":', '"nextId":-')),
  ]
  for (const bytes of broken)
    t.is(await decoded('c', bytes, 'broker-a'), undefined, bytes.toString())
})

test('many subscriptions are read over several turns', async (t) => {
  const session = fullSession()
  for (let i = 0; i < 10; i++) session.subscriptions.set(subscriptionOf(`b/${i}`, []))
  const clock = new FakeClock()
  endSlicesAtOnce(t, clock)
  const turn = countTurns(t)
  const began = turn()
  const saved = encodeSession(session, 'broker-a', true)
  const again = await decodeSession('c', saved, {
    ...{ ownBroker: 'broker-a', slice: new SharedSlice(clock) },
    loadPart: async () => undefined,
  })
  t.is(again!.subscriptions.size, 12)
  t.true(turn() >= began + 10)
})

const add = (inFlight: InFlight, offset: number) => inFlight.add(homeOf(offset), 1, undefined)

test('packet identifiers start at 1, go up, and wrap to 1 without 0', (t) => {
  const inFlight = new InFlight()
  for (let id = 1; id <= 65_535; id++) {
    t.is(add(inFlight, id), id)
    inFlight.remove(inFlight.find(id))
  }
  t.is(add(inFlight, 0), 1)
})

test('a packet identifier that is held is never given again, however far the others go', (t) => {
  const inFlight = new InFlight()
  t.is(add(inFlight, 7), 1)
  t.is(add(inFlight, 8), 2)
  for (let i = 0; i < 200_000; i++) {
    const id = add(inFlight, i)
    if (id <= 2) t.fail(`id ${id} was given twice`)
    inFlight.remove(inFlight.find(id))
  }
  t.is(inFlight.count, 2)
  t.deepEqual(inFlight.homeAt(inFlight.find(1)), homeOf(7))
})

test('what is in flight and restored keeps its ids, its states and its order', (t) => {
  const inFlight = new InFlight()
  inFlight.restore(
    [
      { packetId: 65_535, home: homeOf(10), qos: 1, state: SENT },
      { packetId: 1, home: homeOf(20), qos: 2, state: RELEASED },
    ],
    65_535,
  )
  t.deepEqual(
    [...inFlight.slots()].map((slot) => inFlight.entryAt(slot).packetId),
    [65_535, 1],
  )
  t.is(add(inFlight, 30), 2, 'neither 65,535 nor 1 is free')
  t.is(inFlight.stateAt(inFlight.find(1)), RELEASED)
})

interface Entry {
  readonly id: number
  readonly home: Home
}

test('any order of sending and finishing agrees with a plain list', (t) => {
  const steps = fc.array(fc.oneof(fc.constant(-1), fc.nat(300)), { maxLength: 800 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 40 }), (list, topics) => {
      const inFlight = new InFlight()
      const model: Entry[] = []
      let offset = 2 ** 40
      for (const step of list) {
        if (step === -1 || model.length === 0) {
          offset++
          const home = homeOf(offset, `t${offset % topics}`, `b${offset % 3}`)
          model.push({ id: inFlight.add(home, 1, undefined), home })
        } else {
          const [gone] = model.splice(step % model.length, 1)
          inFlight.remove(inFlight.find(gone!.id))
        }
      }
      const entries = [...inFlight.slots()].map((slot) => inFlight.entryAt(slot))
      t.deepEqual(
        entries.map(({ packetId, home }) => ({ id: packetId, home })),
        model,
      )
      t.is(inFlight.count, model.length)
      for (const { id } of model) t.not(inFlight.find(id), -1)
    }),
    { numRuns: 300 },
  )
})
