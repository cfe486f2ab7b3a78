// What one acknowledgement stands for is there after a kill, whichever append the process did not
// live to make: the real front-end and broker, killed before each append of one request, started
// over what the log has, and a client that does what MQTT has it do then.
import test, { type ExecutionContext } from 'ava'
import { bodiesOf, pullRequest, topicOf } from '../../support/broker.ts'
import {
  type CrashingMqtt,
  joined,
  nextPayload,
  payloadsUntil,
  startCrashingMqtt,
} from '../../support/mqtt/mqtt-crash.ts'
import {
  ack,
  DISCONNECT,
  publish,
  subscribe,
  unsubscribe,
} from '../../support/mqtt/mqtt-packets.ts'
import type { RawPeer } from '../../support/peers/raw-peer.ts'

const RETAIN = 1
const DUP = 8
const KEPT = { clean: false }

interface Scenario {
  /** Before the request: what it finds. */
  readonly prepare?: (mqtt: CrashingMqtt) => Promise<void>
  /** The request, up to its acknowledgement. */
  readonly act: (mqtt: CrashingMqtt) => Promise<unknown>
  /** After the restart; `isAcknowledged`: the client has nothing left to send. */
  readonly goOn?: (mqtt: CrashingMqtt, isAcknowledged: boolean) => Promise<unknown>
  readonly check: (mqtt: CrashingMqtt, isAcknowledged: boolean) => Promise<void>
}

/**
 * Kills before the first append of the request, before the second, and so on, and at last after it.
 */
async function killBeforeEachAppend(t: ExecutionContext, scenario: Scenario): Promise<void> {
  const { prepare, act, goOn, check } = scenario
  for (let appends = 0, isAcknowledged = false; !isAcknowledged; appends++) {
    const before = await startCrashingMqtt(t)
    await prepare?.(before)
    const death = before.dieAfter(appends).then(() => false)
    const acting = act(before).then(() => true)
    acting.catch(() => {})
    isAcknowledged = await Promise.race([acting, death])
    const after = await before.restart()
    await goOn?.(after, isAcknowledged)
    await check(after, isAcknowledged)
    await after.close()
    t.log(`killed after ${appends} appends: ${isAcknowledged ? '' : 'not '}acknowledged`)
  }
}

const read = async (peer: RawPeer, ...bytes: number[]): Promise<Buffer> => {
  const got = await peer.read(bytes.length)
  if (!got.equals(Buffer.from(bytes))) throw new Error(`${got.toString('hex')} came`)
  return got
}
const puback = (peer: RawPeer, id = 1) => read(peer, 0x40, 2, 0, id)
const pubrec = (peer: RawPeer, id = 1) => read(peer, 0x50, 2, 0, id)
const pubcomp = (peer: RawPeer, id = 1) => read(peer, 0x70, 2, 0, id)
const suback = (peer: RawPeer, qos: number, id = 1) => read(peer, 0x90, 3, 0, id, qos)
const unsuback = (peer: RawPeer, id = 1) => read(peer, 0xb0, 2, 0, id)

/** The payloads that a new subscriber gets as retained ones, behind them a live message. */
async function retainedOf({ port }: CrashingMqtt, filter: string): Promise<string[]> {
  const { peer } = await joined(port, 'late')
  peer.send(subscribe(1, [[filter, 0]]), subscribe(2, [['end', 0]]), publish('end', 'end'))
  const payloads = await payloadsUntil(peer, 'end')
  peer.end()
  return payloads
}

/** The bodies of what the log has under MQTT's catch-all topic. */
async function stored({ broker }: CrashingMqtt): Promise<string[]> {
  const bodies: string[] = []
  for (const { queueId } of await broker.topics.ranges('MQTT')) {
    const { records } = await broker.pull(pullRequest('MQTT', { queueId, maxMessages: 1000 }))
    bodies.push(...bodiesOf({ records }))
  }
  return bodies
}

/**
 * A subscriber that comes while the will is on its way has it twice, as retained and as a live
 * message.
 */
async function willStored(mqtt: CrashingMqtt): Promise<void> {
  while (!(await stored(mqtt)).includes('will')) await new Promise((go) => setImmediate(go))
}

const retain = async ({ port }: CrashingMqtt, payload: string): Promise<void> => {
  const { peer } = await joined(port, 'first')
  peer.send(publish('r', payload, { qos: 1, flags: RETAIN }))
  await puback(peer)
  peer.end()
}

for (const [name, payload, wanted] of [
  ['set', 'v2', ['v2']],
  ['cleared', '', []],
] as const) {
  test(`a retained value ${name} at QoS 1 and acknowledged is so for the next subscriber`, (t) =>
    killBeforeEachAppend(t, {
      prepare: (mqtt) => retain(mqtt, 'v1'),
      act: async ({ port }) => {
        const { peer } = await joined(port, 'p')
        peer.send(publish('r', payload, { qos: 1, flags: RETAIN }))
        await puback(peer)
      },
      goOn: async ({ port }, isAcknowledged) => {
        if (isAcknowledged) return
        const { peer } = await joined(port, 'p')
        peer.send(publish('r', payload, { qos: 1, flags: RETAIN | DUP }))
        await puback(peer)
      },
      check: async (mqtt) => void t.deepEqual(await retainedOf(mqtt, 'r'), [...wanted]),
    }))

  test(`a retained value ${name} at QoS 2 and sent again is so for the next subscriber, and stored once`, (t) => {
    let isReceived = false
    const deliver = async ({ port }: CrashingMqtt, flags: number): Promise<void> => {
      const { peer } = await joined(port, 'p', KEPT)
      if (!isReceived) {
        peer.send(publish('r', payload, { qos: 2, flags }))
        await pubrec(peer)
        isReceived = true
      }
      peer.send(ack('pubrel', 1))
      await pubcomp(peer)
    }
    return killBeforeEachAppend(t, {
      prepare: (mqtt) => {
        isReceived = false
        return retain(mqtt, 'v1')
      },
      act: (mqtt) => deliver(mqtt, RETAIN),
      goOn: async (mqtt, isAcknowledged) => {
        if (!isAcknowledged) await deliver(mqtt, RETAIN | DUP)
      },
      check: async (mqtt) => {
        t.deepEqual(await retainedOf(mqtt, 'r'), [...wanted])
        t.is((await stored(mqtt)).filter((body) => body === payload).length, 1)
      },
    })
  })
}

for (const clean of [true, false]) {
  test(`a will of a session ${clean ? 'that ends' : 'that stays'} goes out once, and what it retains with it`, (t) => {
    let isConnected = false
    return killBeforeEachAppend(t, {
      prepare: (mqtt) => {
        isConnected = false
        return retain(mqtt, 'v1')
      },
      act: async (mqtt) => {
        const { peer: watcher } = await joined(mqtt.port, 'watcher')
        watcher.send(subscribe(1, [['r', 0]]))
        await suback(watcher, 0)
        const will = { topic: 'r', payload: 'will', flags: 0x20 | 8 }
        const { peer } = await joined(mqtt.port, 'dies', { clean, will })
        isConnected = true
        peer.end()
        await payloadsUntil(watcher, 'will')
      },
      goOn: async ({ clock }) => clock.advanceAsync(1),
      check: async (mqtt) => {
        if (isConnected) await willStored(mqtt)
        t.deepEqual(await retainedOf(mqtt, 'r'), [isConnected ? 'will' : 'v1'])
        const wills = (await stored(mqtt)).filter((body) => body === 'will')
        t.is(wills.length, isConnected ? 1 : 0)
      },
    })
  })
}

const subscribed = async ({ port }: CrashingMqtt, filter: string): Promise<RawPeer> => {
  const { peer } = await joined(port, 's', KEPT)
  peer.send(subscribe(1, [[filter, 1]]))
  await suback(peer, 1)
  return peer
}

const send = async ({ port }: CrashingMqtt, topic: string, payload: string): Promise<void> => {
  const { peer } = await joined(port, 'sender')
  peer.send(publish(topic, payload, { qos: 1 }))
  await puback(peer)
  peer.end()
}

/** What the session is sent when it comes back, up to a message to itself. */
async function sentTo({ port }: CrashingMqtt): Promise<string[]> {
  const { peer } = await joined(port, 's', KEPT)
  peer.send(subscribe(9, [['end', 0]]))
  peer.send(publish('end', 'end'))
  const payloads = await payloadsUntil(peer, 'end')
  peer.send(DISCONNECT)
  await peer.closed()
  return payloads
}

test('a subscription that was acknowledged gets what is sent after the restart', (t) =>
  killBeforeEachAppend(t, {
    act: (mqtt) => subscribed(mqtt, 'a/+'),
    goOn: async (mqtt, isAcknowledged) => {
      if (!isAcknowledged) await subscribed(mqtt, 'a/+').then((peer) => peer.end())
      await send(mqtt, 'a/b', 'news')
    },
    check: async (mqtt) => void t.deepEqual(await sentTo(mqtt), ['news']),
  }))

test('a subscription that was acknowledged behind many others gets what is sent after the restart', (t) =>
  killBeforeEachAppend(t, {
    prepare: async ({ port }) => {
      const { peer } = await joined(port, 's', KEPT)
      const others = Array.from({ length: 20 }, (_, i) => [`other/${i}`, 1] as const)
      peer.send(subscribe(1, others))
      await peer.readPacket()
      peer.end()
    },
    act: (mqtt) => subscribed(mqtt, 'a/+'),
    goOn: async (mqtt, isAcknowledged) => {
      if (!isAcknowledged) await subscribed(mqtt, 'a/+').then((peer) => peer.end())
      await send(mqtt, 'other/19', 'others')
      await send(mqtt, 'a/b', 'news')
    },
    check: async (mqtt) => void t.deepEqual(await sentTo(mqtt), ['others', 'news']),
  }))

test('a shared subscription that was acknowledged loses nothing that is acknowledged after it', (t) =>
  killBeforeEachAppend(t, {
    // A group that has read something else before is not new to the broker.
    prepare: async (mqtt) => {
      const peer = await subscribed(mqtt, '$share/g/other/+')
      await mqtt.clock.advanceAsync(1000)
      peer.end()
    },
    act: async (mqtt) => {
      const peer = await subscribed(mqtt, '$share/g/a/+')
      peer.end()
      await send(mqtt, 'a/b', 'news')
    },
    goOn: async (mqtt, isAcknowledged) => {
      if (isAcknowledged) return
      await subscribed(mqtt, '$share/g/a/+').then((peer) => peer.end())
      await send(mqtt, 'a/b', 'news')
    },
    check: async ({ port }) => {
      const { peer } = await joined(port, 's', KEPT)
      t.deepEqual(await payloadsUntil(peer, 'news'), [])
    },
  }))

async function unsubscribed({ port }: CrashingMqtt): Promise<void> {
  const { peer, present } = await joined(port, 's', KEPT)
  if (!present) throw new Error('the session is gone')
  peer.send(unsubscribe(2, ['a/+']))
  await unsuback(peer, 2)
  peer.send(DISCONNECT)
  await peer.closed()
}

/** The filter's queue has entries from before the subscription, and is its own by now. */
async function subscribedLate(mqtt: CrashingMqtt): Promise<void> {
  const { peer } = await joined(mqtt.port, 'earlier', KEPT)
  peer.send(subscribe(1, [['a/+', 1]]))
  await suback(peer, 1)
  await send(mqtt, 'a/b', 'old')
  await send(mqtt, 'a/b', 'older')
  await subscribed(mqtt, 'a/+')
  peer.send(unsubscribe(2, ['a/+']), DISCONNECT)
  await peer.closed()
}

test('an UNSUBSCRIBE that a kill cuts off and that is not sent again leaves a subscription that misses nothing', (t) => {
  let isSubscribed = false
  return killBeforeEachAppend(t, {
    prepare: subscribedLate,
    act: unsubscribed,
    goOn: async (mqtt, isAcknowledged) => {
      const { peer } = await joined(mqtt.port, 's', KEPT)
      await send(mqtt, 'a/b', 'one')
      peer.send(subscribe(9, [['end', 0]]), publish('end', 'end'))
      // All but the acknowledgement may have been done.
      isSubscribed = (await payloadsUntil(peer, 'end')).includes('one')
      t.false(isSubscribed && isAcknowledged)
      peer.send(DISCONNECT)
      await peer.closed()
      await send(mqtt, 'a/b', 'two')
    },
    check: async (mqtt) => {
      t.deepEqual(await sentTo(mqtt), isSubscribed ? ['two'] : [])
    },
  })
})

test('an UNSUBSCRIBE that a kill cuts off leaves a session that can be taken up, and may be sent again', (t) =>
  killBeforeEachAppend(t, {
    prepare: subscribedLate,
    act: unsubscribed,
    goOn: async (mqtt, isAcknowledged) => {
      if (!isAcknowledged) await unsubscribed(mqtt)
    },
    check: async (mqtt) => {
      await send(mqtt, 'a/b', 'after')
      t.deepEqual(await sentTo(mqtt), [])
    },
  }))

for (const comesBack of ['clean', 'as before'] as const) {
  test(`a clean start that a kill cuts off leaves one session or the other (the client comes back ${comesBack})`, (t) =>
    killBeforeEachAppend(t, {
      prepare: async (mqtt) => {
        const will = { topic: 'w', payload: 'will', flags: 8 }
        const { peer } = await joined(mqtt.port, 's', { ...KEPT, will })
        peer.send(subscribe(1, [['a/+', 1]]), subscribe(2, [['b/+', 1]]))
        await suback(peer, 1)
        await suback(peer, 1, 2)
      },
      act: async ({ port }) => {
        // MQTT 5: a new session that stays, in place of the old one.
        const properties = Buffer.of(0x11, 0, 0, 0x0e, 0x10)
        await joined(port, 's', { version: 5, clean: true, properties })
      },
      goOn: async (mqtt, isAcknowledged) => {
        await mqtt.clock.advanceAsync(1)
        if (isAcknowledged) return
        if (comesBack === 'clean') await joined(mqtt.port, 's', { clean: true })
        else await joined(mqtt.port, 's', KEPT)
      },
      check: async (mqtt, isAcknowledged) => {
        await send(mqtt, 'a/b', 'one')
        await send(mqtt, 'b/c', 'two')
        const got = await sentTo(mqtt)
        if (isAcknowledged || comesBack === 'clean') t.deepEqual(got, [])
        else t.true(got.length === 0 || got.length === 2, `${got}`)
        t.is((await stored(mqtt)).filter((body) => body === 'will').length, 1)
      },
    }))
}

for (const clean of [true, false]) {
  for (const isKilled of [false, true]) {
    const when = isKilled ? 'after a kill' : 'when there is room again'
    test(`a will that the full disk does not take goes out ${when} (clean session ${Number(clean)})`, async (t) => {
      const first = await startCrashingMqtt(t)
      const will = { topic: 'r', payload: 'will', flags: 0x20 | 8 }
      const { peer } = await joined(first.port, 'dies', { clean, will })
      await first.clock.advanceAsync(1)
      let refused = 0
      first.faults.isReadOnly = true
      first.faults.refused = () => refused++
      peer.end()
      while (refused === 0) await new Promise((resolve) => setImmediate(resolve))
      await first.clock.advanceAsync(1_000)
      t.deepEqual(await stored(first), [])
      const last = isKilled ? await first.restart() : first
      last.faults.isReadOnly = false
      await last.clock.advanceAsync(2_000)
      await willStored(last)
      t.deepEqual(await retainedOf(last, 'r'), ['will'])
      t.deepEqual(
        (await stored(last)).filter((body) => body === 'will'),
        ['will'],
      )
    })
  }
}

test('what is retained of a topic goes with it when that is deleted', (t) =>
  killBeforeEachAppend(t, {
    prepare: async ({ port, broker }) => {
      await broker.topics.put(topicOf('orders', 1))
      const { peer } = await joined(port, 'p')
      peer.send(publish('orders/a', 'bound', { qos: 1, id: 1, flags: RETAIN }))
      await puback(peer)
      peer.send(publish('other/a', 'stays', { qos: 1, id: 2, flags: RETAIN }))
      await puback(peer, 2)
      peer.end()
    },
    act: ({ broker }) => broker.topics.delete('orders'),
    check: async (mqtt) => {
      const isThere = (await mqtt.broker.topics.get('orders')) !== undefined
      t.deepEqual(await retainedOf(mqtt, '#'), isThere ? ['bound', 'stays'] : ['stays'])
    },
  }))

test('a name whose topic was deleted takes a new retained value', async (t) => {
  const mqtt = await startCrashingMqtt(t)
  const { broker, port } = mqtt
  await broker.topics.put(topicOf('orders', 1))
  const { peer } = await joined(port, 'p')
  const retain = async (payload: string): Promise<void> => {
    peer.send(publish('orders/a', payload, { qos: 1, id: 1, flags: RETAIN }))
    await puback(peer)
  }
  await retain('old')
  await broker.topics.delete('orders')
  await broker.topics.put(topicOf('orders', 1))
  t.deepEqual(await retainedOf(mqtt, 'orders/#'), [])
  await retain('new')
  t.deepEqual(await retainedOf(mqtt, 'orders/#'), ['new'])
  const after = await mqtt.restart()
  t.deepEqual(await retainedOf(after, 'orders/#'), ['new'])
})

/** Of MQTT 5: lives two hours. */
const TWO_HOURS = Buffer.of(0x11, 0, 0, 0x1c, 0x20)
const HOUR_MS = 3_600_000

test('a session outlives a start at which the clock is far ahead, and ends an hour later when it was right', async (t) => {
  const first = await startCrashingMqtt(t)
  const shape = { clean: false, version: 5, properties: TWO_HOURS } as const
  const { peer } = await joined(first.port, 'c', shape)
  peer.send(DISCONNECT)
  await peer.closed()
  await first.clock.advanceAsync(1_000)
  first.clock.jump(365 * 24 * HOUR_MS)
  const second = await first.restart()
  const again = await joined(second.port, 'c', shape)
  t.true(again.present)
  again.peer.send(DISCONNECT)
  await again.peer.closed()
  await second.clock.advanceAsync(1_000)
  second.clock.jump(365 * 24 * HOUR_MS)
  const third = await second.restart()
  await third.clock.advanceAsync(HOUR_MS + 1_000)
  t.false((await joined(third.port, 'c', shape)).present)
})

test('a session whose end waits for the disk lets go of its filters once, and others keep theirs', async (t) => {
  const { port, clock, faults, log } = await startCrashingMqtt(t)
  const { peer: other } = await joined(port, 'other')
  for (const filter of ['live', 'w']) {
    other.send(subscribe(1, [[filter, 0]]))
    await suback(other, 0)
  }
  // The filter outlives the connection, then the session no more.
  const kept = { version: 5, clean: false } as const
  const { peer } = await joined(port, 's', {
    ...kept,
    properties: Buffer.of(0x11, 0, 0, 0x0e, 0x10),
  })
  peer.send(subscribe(1, [['kept', 1]], 5))
  await peer.readPacket()
  peer.send(DISCONNECT)
  await peer.closed()
  const { peer: last } = await joined(port, 's', { ...kept, will: { topic: 'w', payload: 'will' } })
  last.send(subscribe(1, [['live', 1]], 5))
  await last.readPacket()
  await clock.advanceAsync(1_000)
  let refused = 0
  faults.isReadOnly = true
  faults.refused = () => refused++
  last.end()
  while (refused < 2) await new Promise((resolve) => setImmediate(resolve))
  for (let i = 0; i < 3; i++) await clock.advanceAsync(1_000)
  t.true(log.events().includes('mqtt.session_not_ended'))
  faults.becomesWritable()
  await clock.advanceAsync(1_000)
  t.is(await nextPayload(other), 'will')
  other.send(publish('live', 'news'))
  t.is(await nextPayload(other), 'news')
})
