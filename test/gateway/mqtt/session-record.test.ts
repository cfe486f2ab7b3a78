import test from 'ava'
import { RELEASED, SENT } from '../../../src/gateway/mqtt/session/in-flight.ts'
import { NEVER, Session } from '../../../src/gateway/mqtt/session/session.ts'
import { decodeSession, encodeSession } from '../../../src/gateway/mqtt/session/session-record.ts'
import type { Receipt } from '../../../src/model/message.ts'
import { logPosition, queueOffset } from '../../../src/model/positions.ts'
import { tagFilterOf } from '../../../src/model/tag-filter.ts'
import { homeOf, placeOn } from '../../support/mqtt-places.ts'

function fullSession(): Session {
  const session = new Session('client/ä')
  session.expiryMs = NEVER
  session.disconnectedMs = 1_700_000_000_000
  const options = { qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 1 } as const
  session.subscriptions.set('a/#', {
    ...{ ...options, text: 'a/#', filter: 'a/#', share: undefined, id: 7 },
    places: [
      {
        ...placeOn('%LMQ%a/#', 'broker-b', 12),
        next: queueOffset(2 ** 40),
        floor: logPosition(2 ** 50),
      },
    ],
    durable: true,
  })
  const share = { group: 'g', topic: 'orders', filter: tagFilterOf(['x', 'y']) }
  session.subscriptions.set('$share/g/orders/x', {
    ...{ ...options, text: '$share/g/orders/x', filter: 'orders/x', share, id: undefined },
    ...{ places: [], durable: true },
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

test('a session comes back as it was saved', (t) => {
  const session = fullSession()
  const again = decodeSession(session.clientId, encodeSession(session, 'broker-a'), 'broker-a')!
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

test('a broker in the same process may get another name', (t) => {
  const saved = encodeSession(fullSession(), 'broker-b')
  const again = decodeSession('c', saved, 'broker-c')!
  const slots = [...again.inFlight.slots()]
  t.deepEqual(
    slots.map((slot) => again.inFlight.homeAt(slot).brokerName),
    ['broker-a', 'broker-c'],
  )
  t.is(again.subscriptions.get('a/#')?.places[0]?.brokerName, 'broker-c')
})

test('QoS 1 of a group is not kept with the session, QoS 2 is', (t) => {
  const session = new Session('c')
  const receipt = {} as Receipt
  session.inFlight.add(homeOf(1), 1, receipt)
  session.inFlight.add(homeOf(2), 2, receipt)
  const again = decodeSession('c', encodeSession(session, 'broker-a'), 'broker-a')!
  t.deepEqual(
    [...again.inFlight.slots()].map((slot) => again.inFlight.entryAt(slot).packetId),
    [2],
  )
})

test('what is no session is none, and never an exception', (t) => {
  const whole = encodeSession(fullSession(), 'broker-a')
  const broken = [
    Buffer.alloc(0),
    Buffer.from('null'),
    Buffer.from('{}'),
    Buffer.from([0xff, 0xfe]),
    whole.subarray(0, whole.length - 1),
    Buffer.from(whole.toString().replace('"format":2', '"format":3')),
    Buffer.from(whole.toString().replace(/"homes":\[\[.*?\]\]/, '"homes":[]')),
    Buffer.from(whole.toString().replace('"nextId":', '"nextId":-')),
  ]
  for (const bytes of broken)
    t.is(decodeSession('c', bytes, 'broker-a'), undefined, bytes.toString())
})
