// Sessions of many subscriptions: what a change of one costs, and that all of them are kept.
import test from 'ava'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import { nextTurn, systemClock } from '../../../../src/clock.ts'
import { BrokerError } from '../../../../src/errors.ts'
import { Session } from '../../../../src/gateway/mqtt/session/session.ts'
import { SessionCopies } from '../../../../src/gateway/mqtt/session/session-copies.ts'
import { PART_SUBSCRIPTIONS_MAX } from '../../../../src/gateway/mqtt/session/subscription-parts.ts'
import { silentLogger } from '../../../../src/log.ts'
import { queueOffset } from '../../../../src/model/positions.ts'
import type { StateChange } from '../../../../src/model/state.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startBroker } from '../../../support/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { connect, publish, subscribe, unsubscribe } from '../../../support/mqtt/mqtt-packets.ts'
import { placeOn, subscriptionOf } from '../../../support/mqtt/mqtt-places.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { Random } from '../../../support/random.ts'
import { endSlicesAtOnce } from '../../../support/turns.ts'

const MANY = 10 * PART_SUBSCRIPTIONS_MAX
const many = Array.from({ length: MANY }, (_, i) => `many/${i}`)
/** Session expiry: an hour. */
const KEPT = { version: 5, clean: false, properties: Buffer.of(0x11, 0, 0, 14, 16) } as const

async function connected(port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', KEPT))
  await peer.readPacket()
  return peer
}

async function subscribed(peer: RawPeer, filters: readonly string[], id = 1): Promise<number[]> {
  peer.send(
    subscribe(
      id,
      filters.map((filter) => [filter, 0] as const),
      5,
    ),
  )
  return [...(await peer.readPacket()).body.subarray(3)]
}

test('a SUBSCRIBE to one filter writes a part of the subscriptions, however many there are', async (t) => {
  let bytes = 0
  const count = (value: Uint8Array | StateChange['state']): void => {
    if (value instanceof Uint8Array) bytes += value.length
  }
  const bend = (broker: EmbeddedBroker): Broker =>
    overridden<Broker>(broker, {
      publish: (messages, changes = []) => {
        for (const { state } of changes) count(state)
        return broker.publish(messages, changes)
      },
      states: overridden(broker.states, {
        save: (id, value, guard) => {
          count(value)
          return broker.states.save(id, value, guard)
        },
      }),
    })
  const { port } = await startMqttOver(t, { bend, clock: new FakeClock() })
  const peer = await connected(port)
  await subscribed(peer, many)
  const whole = bytes
  bytes = 0
  await subscribed(peer, ['one/more'], 2)
  t.true(bytes > 0)
  t.true(bytes < whole / 4, `${bytes} bytes of ${whole}`)
  peer.end()
})

test('a session of many subscriptions has them all at the next gateway, but those that it gave up', async (t) => {
  const { port, broker, gateway } = await startMqttOver(t)
  const peer = await connected(port)
  await subscribed(peer, many)
  const gone = many.filter((_, i) => i % 3 === 0)
  peer.send(unsubscribe(2, gone, 5))
  await peer.readPacket()
  peer.end()
  await gateway.close(0)
  const next = await openGateway(t, broker)
  const back = await connected(next.port)
  const left = many.filter((_, i) => i % 3 !== 0)
  const sender = await RawPeer.connect(next.port)
  sender.send(connect('sender'), ...many.map((name) => publish(name, name)))
  const came = new Set<string>()
  while (came.size < left.length) {
    const { body } = await back.readPacket()
    came.add(body.toString('utf8', 2, 2 + body.readUInt16BE(0)))
  }
  t.deepEqual([...came].sort(), [...left].sort())
  for (const one of [back, sender]) one.end()
})

test('nothing of its subscriptions is left of a session that has ended', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const peer = await connected(port)
  await subscribed(peer, many)
  peer.end()
  const again = await RawPeer.connect(port)
  again.send(connect('c', { version: 5, clean: true }))
  await again.readPacket()
  const left: string[] = []
  for await (const page of broker.states.list('mqtt/')) left.push(...page.map(({ id }) => id))
  t.deepEqual(left, [])
  again.end()
})

test('whatever changes between two saves, a session is loaded as it was saved last', async (t) => {
  const { broker } = await startBroker(t)
  const random = new Random(1)
  const copies = new SessionCopies(broker, systemClock, silentLogger)
  const session = new Session('c')
  session.expiryMs = 1000
  const texts = ({ subscriptions }: Session) =>
    [...subscriptions.values()].map(({ text, places }) => `${text} ${places[0]?.next}`).sort()
  for (let round = 0; round < 60; round++) {
    const mostly = round % 20 < 10 ? 0.7 : 0.3
    for (let step = random.int(40); step > 0; step--) {
      const filter = `f/${random.int(200)}`
      const known = session.subscriptions.get(filter)
      if (!random.chance(mostly)) session.subscriptions.delete(filter)
      else if (known === undefined) {
        session.subscriptions.set(subscriptionOf(filter, [placeOn(filter)]))
      } else {
        const [place] = known.places
        place!.next = queueOffset(place!.next + 1)
        session.subscriptions.moved(known)
      }
    }
    await copies.save(session)
    const claim = await broker.states.claim('mqtt/session/c', () => {})
    const loaded = await new SessionCopies(broker, systemClock, silentLogger).load('c', claim)
    await broker.states.release(claim)
    t.deepEqual(texts(loaded!), texts(session))
  }
})

test('what the log did not take of a session of many subscriptions is saved once it does', async (t) => {
  const { broker } = await startBroker(t)
  let isFull = true
  const bent = overridden<Broker>(broker, {
    publish: async (messages, changes) => {
      if (isFull) throw new BrokerError('READ_ONLY', 'the disk is full')
      return broker.publish(messages, changes)
    },
  })
  const copies = new SessionCopies(bent, systemClock, silentLogger)
  const session = new Session('c')
  session.expiryMs = 1000
  for (const filter of many) session.subscriptions.set(subscriptionOf(filter, [placeOn(filter)]))
  copies.saveLater(session)
  await nextTurn()
  isFull = false
  await copies.save(session)
  const claim = await broker.states.claim('mqtt/session/c', () => {})
  const loaded = await new SessionCopies(broker, systemClock, silentLogger).load('c', claim)
  t.is(loaded?.subscriptions.size, MANY)
})

test('a session whose changes get to the log one by one can be read at every step', async (t) => {
  const { broker } = await startBroker(t)
  const copies = new SessionCopies(broker, systemClock, silentLogger)
  const load = async (): Promise<ReadonlySet<string>> => {
    const claim = await broker.states.claim('mqtt/session/c', () => {})
    const loaded = await new SessionCopies(broker, systemClock, silentLogger).load('c', claim)
    await broker.states.release(claim)
    return new Set(loaded!.subscriptions.keys())
  }
  const session = new Session('c')
  session.expiryMs = 1000
  const [kept, gone, added] = [0, 1, 2].map((third) => many.filter((_, i) => i % 3 === third))
  const set = (filter: string): void =>
    session.subscriptions.set(subscriptionOf(filter, [placeOn(filter)]))
  const remove = (filter: string): void => session.subscriptions.delete(filter)
  for (const filter of [...kept!, ...gone!]) set(filter)
  await copies.save(session)
  for (const change of [() => added!.forEach(set), () => [...gone!, ...added!].forEach(remove)]) {
    change()
    for (const { id, state } of copies.change(session).states) {
      if (state === null) await broker.states.delete(id)
      else await broker.states.save(id, state as Buffer)
      const read = await load()
      t.true(kept!.every((filter) => read.has(filter)))
    }
    t.deepEqual(await load(), new Set(session.subscriptions.keys()))
  }
})

test('what goes with a message that the log refuses is saved with the next change', async (t) => {
  let isFull = false
  const bend = (broker: EmbeddedBroker): Broker =>
    overridden<Broker>(broker, {
      publish: async (messages, changes) => {
        if (isFull) throw new BrokerError('READ_ONLY', 'the disk is full')
        return broker.publish(messages, changes)
      },
    })
  const { port, broker, gateway } = await startMqttOver(t, { bend, clock: new FakeClock() })
  const last = many.at(-1)!
  const peer = await connected(port)
  await subscribed(peer, many)
  const sender = await RawPeer.connect(port)
  sender.send(connect('sender'), publish(last, 'before'))
  await peer.readPacket()
  isFull = true
  peer.send(publish('other', '', { qos: 2, id: 7, version: 5 }))
  t.is((await peer.readPacket()).body.readUInt16BE(0), 7)
  isFull = false
  for (const one of [peer, sender]) one.end()
  await gateway.close(0)
  const next = await openGateway(t, broker)
  const back = await connected(next.port)
  const another = await RawPeer.connect(next.port)
  another.send(connect('another'), publish(last, 'after'))
  t.true((await back.readPacket()).body.toString().endsWith('after'))
  for (const one of [back, another]) one.end()
})

test('nothing is left of subscriptions that went before others that went too', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const peer = await connected(port)
  await subscribed(peer, many.slice(0, 3 * PART_SUBSCRIPTIONS_MAX))
  for (const part of [1, 2]) {
    const at = part * PART_SUBSCRIPTIONS_MAX
    peer.send(unsubscribe(1 + part, many.slice(at, at + PART_SUBSCRIPTIONS_MAX), 5))
    await peer.readPacket()
  }
  const left: string[] = []
  for await (const page of broker.states.list('mqtt/filters/'))
    left.push(...page.map(({ id }) => id))
  t.deepEqual(left, [])
  peer.end()
})

test('nothing is left of a session that cannot be read once its client has a new one', async (t) => {
  const { port, broker, gateway } = await startMqttOver(t)
  const peer = await connected(port)
  await subscribed(peer, many)
  peer.end()
  await gateway.close(0)
  await broker.states.save('mqtt/session/c', Buffer.from('{'))
  const next = await openGateway(t, broker)
  t.true((await broker.states.load('mqtt/filters/1/c')) !== undefined)
  const back = await connected(next.port)
  const left: string[] = []
  for await (const page of broker.states.list('mqtt/filters/'))
    left.push(...page.map(({ id }) => id))
  t.deepEqual(left, [])
  back.end()
})

test('filters of one SUBSCRIBE, and of one UNSUBSCRIBE, wait for the log together', async (t) => {
  let waiting: (() => void)[] = []
  const together = (): Promise<void> =>
    new Promise((go) => {
      waiting.push(go)
      if (waiting.length < MANY) return
      for (const one of waiting) one()
      waiting = []
    })
  const bend = (broker: EmbeddedBroker): Broker =>
    overridden<Broker>(broker, {
      lightQueues: overridden(broker.lightQueues, {
        bind: async (...asked) => {
          await together()
          return broker.lightQueues.bind(...asked)
        },
        unbind: async (...asked) => {
          await together()
          return broker.lightQueues.unbind(...asked)
        },
      }),
    })
  const { port } = await startMqttOver(t, { bend })
  const peer = await connected(port)
  t.deepEqual(await subscribed(peer, many), Array(MANY).fill(0))
  peer.send(unsubscribe(2, many, 5))
  t.deepEqual([...(await peer.readPacket()).body.subarray(3)], Array(MANY).fill(0))
  peer.end()
})

test('filters that are bound at one time are within the limit together', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { filtersMax: 5 } })
  const peer = await connected(port)
  const codes = await subscribed(peer, many)
  t.deepEqual(codes, [...Array(5).fill(0), ...Array(MANY - 5).fill(0x97)])
  peer.end()
})

test('a session of many subscriptions is taken up over many turns', async (t) => {
  const clock = new FakeClock()
  const { port, broker, gateway } = await startMqttOver(t, { clock })
  const peer = await connected(port)
  await subscribed(peer, many)
  peer.end()
  await gateway.close(0)
  const next = await openGateway(t, broker, undefined, clock)
  const turns = endSlicesAtOnce(t, clock)
  const back = await connected(next.port)
  t.deepEqual(await subscribed(back, ['one/more'], 2), [0])
  // Each is bound, passes what the session had before, and comes into the stream.
  t.true(turns().size >= 3 * MANY, `${turns().size} turns`)
  back.end()
})
