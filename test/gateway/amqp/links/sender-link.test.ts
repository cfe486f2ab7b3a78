// What a receiving peer's credit, settlements and limits mean for the link that sends to it.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test, { type ExecutionContext } from 'ava'
import rhea from 'rhea'
import { BrokerError } from '../../../../src/errors.ts'
import {
  READ_AHEAD_BYTES_MAX,
  READ_BYTES_MAX,
  UNSETTLED_PER_CONNECTION_MAX,
  UNSETTLED_PER_LINK_MAX,
} from '../../../../src/gateway/amqp/limits.ts'
import { groupDefaults } from '../../../../src/model/group.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { type AmqpServerOptions, startAmqp } from '../../../support/amqp/amqp-server.ts'
import {
  accepted,
  attachReceiver,
  attachSender,
  begin,
  conditionOf,
  connectRaw,
  flow,
  frame,
  handshake,
  type RawPeer,
  transfer,
} from '../../../support/amqp/raw-amqp.ts'
import { overridden } from '../../../support/overridden.ts'
import { eventually } from '../../../support/waiting.ts'
import { inFlight, lag, numbered, publish } from '../receiving.ts'

interface Reader {
  readonly broker: Broker
  readonly peer: RawPeer
}

async function reader(t: ExecutionContext, options: AmqpServerOptions = {}): Promise<Reader> {
  const { port, broker } = await startAmqp(t, options)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  return { broker, peer }
}

const grant = (credit: number, fields: Record<string, unknown> = {}): Buffer =>
  flow({ handle: 0, delivery_count: 0, link_credit: credit, ...fields })

const transfersTo = (peer: RawPeer): number =>
  peer.came().filter(({ name }) => name === 'transfer').length

test('a message that was sent is not kept until it is settled', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const sent: WeakRef<Buffer>[] = []
  const { broker, peer } = await reader(t, {
    wrap: (real) =>
      overridden(real, {
        receive: async (request) =>
          (await real.receive(request)).map((message) => {
            const record = Buffer.from(message.record)
            sent.push(new WeakRef(record))
            return { ...message, record }
          }),
      }),
  })
  await publish(broker, 'orders', numbered(100))
  peer.send(attachReceiver(0, 'orders::g'), grant(100))
  await peer.frame('transfer', 100)
  t.is(await inFlight(broker, 'g'), 100)
  // The last one is at hand, as the pattern for the next.
  const kept = await eventually(async () => {
    collect()
    const left = sent.filter((one) => one.deref() !== undefined).length
    return left <= 1 ? left : undefined
  })
  t.true(kept <= 1)
})

test('a message beyond what the peer takes costs the link, and stays in the group', async (t) => {
  const { broker, peer } = await reader(t)
  await publish(broker, 'orders', ['small', 'x'.repeat(1000), 'after'], {}, 0)
  peer.send(attachReceiver(0, 'orders::g?order=1', { max_message_size: 500 }), grant(10))
  await peer.frame('transfer')
  peer.send(
    frame('disposition', { role: true, first: 0, last: 0, settled: true, state: accepted() }),
  )
  t.is(conditionOf(await peer.frame('detach')), 'amqp:link:message-size-exceeded')
  await eventually(async () => ((await inFlight(broker, 'g')) === 0 ? true : undefined))
  t.is(await lag(broker, 'g'), 2)
  t.is(transfersTo(peer), 1)
})

test('a message beyond what the peer takes holds up none behind it, and counts as failed', async (t) => {
  const { broker, peer } = await reader(t)
  await publish(broker, 'orders', ['x'.repeat(1000), 'after'], {}, 0)
  await broker.groups.put({ ...groupDefaults('g'), retryTimesMax: 0 })
  peer.send(attachReceiver(0, 'orders::g', { max_message_size: 500 }), grant(10))
  await peer.frame('detach')
  // Not even one failure is allowed here, so that it is dead now.
  await eventually(async () => ((await broker.topics.get('%DLQ%g')) ? true : undefined))
  peer.send(frame('detach', { handle: 0, closed: true }))
  peer.send(attachReceiver(0, 'orders::g', { max_message_size: 500 }), grant(10))
  const { payload } = await peer.frame('transfer')
  t.true(payload?.includes('after'))
})

test('a max-message-size of zero is none', async (t) => {
  const { broker, peer } = await reader(t)
  await publish(broker, 'orders', ['x'.repeat(1000)])
  peer.send(attachReceiver(0, 'orders::g', { max_message_size: 0 }), grant(1))
  await peer.frame('transfer')
  t.pass()
})

test('to a peer that drains with as much unsettled as there may be, that is all there is', async (t) => {
  const { broker, peer } = await reader(t)
  await publish(broker, 'orders', numbered(UNSETTLED_PER_LINK_MAX + 10))
  peer.send(attachReceiver(0, 'orders::g'), grant(2 * UNSETTLED_PER_LINK_MAX))
  await peer.frame('attach')
  await eventually(async () =>
    (await inFlight(broker, 'g')) === UNSETTLED_PER_LINK_MAX ? true : undefined,
  )
  const next_incoming_id = UNSETTLED_PER_LINK_MAX
  peer.send(grant(2 * UNSETTLED_PER_LINK_MAX, { next_incoming_id, drain: true }))
  const { fields } = await peer.frame('flow')
  t.is(fields['link_credit'], 0)
  t.is(fields['delivery_count'], 2 * UNSETTLED_PER_LINK_MAX)
})

test('with too much unsettled on a connection its other links wait, and go on once much is settled', async (t) => {
  const { broker, peer } = await reader(t)
  const half = UNSETTLED_PER_CONNECTION_MAX / 2
  for (let i = 0; i < 4; i++) await publish(broker, 'orders', numbered(half / 4))
  await publish(broker, 'few', ['one', 'two'])
  const to = (handle: number, credit: number, drain = false): Buffer =>
    grant(credit, { handle, drain })
  for (let i = 0; i < 2; i++) peer.send(attachReceiver(i, `orders::g${i}`), to(i, half))
  await peer.frame('transfer', UNSETTLED_PER_CONNECTION_MAX)
  peer.send(attachReceiver(2, 'few::g'), to(2, 2, true))
  const { fields } = await peer.frame('flow', 1)
  t.is(fields['link_credit'], 0, 'to one that drains, that is all there is')
  t.is(await inFlight(broker, 'g'), 0)
  peer.send(grant(2, { handle: 2, delivery_count: 2 }))
  const settled = { role: true, settled: true, state: accepted() }
  peer.send(frame('disposition', { ...settled, first: 0, last: half - 1 }))
  await peer.frame('transfer', UNSETTLED_PER_CONNECTION_MAX + 2)
  t.is(await inFlight(broker, 'g'), 2)
})

test('what arrives for a reader by position while it takes nothing is there for its next credit', async (t) => {
  const { broker, peer } = await reader(t)
  peer.send(attachReceiver(0, '/topics/orders/broadcast'), grant(10), grant(0, { echo: true }))
  await peer.frame('flow')
  await publish(broker, 'orders', numbered(3), {}, 0)
  await publish(broker, 'orders', numbered(3), {}, 1)
  peer.send(grant(2, { drain: true }))
  const { fields } = await peer.frame('flow', 2)
  t.is(fields['link_credit'], 0)
  t.is(transfersTo(peer), 2)
  peer.send(grant(10))
  await peer.frame('transfer', 6)
  t.pass()
})

test('a reader by position gets what one queue gave although another failed, and then the rest', async (t) => {
  let isFailing = true
  const { broker, peer } = await reader(t, {
    wrap: (real) =>
      overridden(real, {
        pull: async (request) => {
          if (request.queueId === 0 || !isFailing) return real.pull(request)
          isFailing = false
          throw new BrokerError('BUSY', 'too much at once; try again')
        },
      }),
  })
  peer.send(attachReceiver(0, '/topics/orders/broadcast'), grant(0, { echo: true }))
  await peer.frame('flow')
  await publish(broker, 'orders', numbered(3), {}, 0)
  await publish(broker, 'orders', numbered(3), {}, 1)
  peer.send(grant(6))
  await peer.frame('transfer', 6)
  t.false(isFailing)
})

test('one read by position takes no more bytes than one read of a group', async (t) => {
  let pulled = 0
  const { broker, peer } = await reader(t, {
    wrap: (real) =>
      overridden(real, {
        pull: async (request) => {
          const result = await real.pull(request)
          pulled += result.records.length
          return result
        },
      }),
  })
  const body = 'x'.repeat(READ_BYTES_MAX / 4)
  for (let i = 0; i < 5; i++) await publish(broker, 'orders', [body, body, body, body], {}, 0)
  peer.socket.pause()
  const incoming_window = 1
  peer.send(attachReceiver(0, '/topics/orders/queues/0'), grant(100, { incoming_window }))
  await eventually(async () => (pulled > 0 ? true : undefined))
  peer.socket.resume()
  await peer.frame('transfer')
  t.true(pulled <= 2 * READ_BYTES_MAX, `${pulled} bytes`)
})

test('the links of a connection share what is read ahead, by group and by position', async (t) => {
  const links = 64
  const asked = new Map<string, number>()
  const note = ({ topic, maxBytes }: { topic: string; maxBytes: number }) =>
    asked.set(topic, maxBytes)
  const { broker, peer } = await reader(t, {
    wrap: (real) =>
      overridden(real, {
        receive: (request) => {
          if (request.waitMs > 0) note(request)
          return real.receive(request)
        },
        pull: (request) => {
          note(request)
          return real.pull(request)
        },
      }),
  })
  const topics = Array.from({ length: links }, (_, i) => `t${i}`)
  for (const topic of topics) await publish(broker, topic, ['x'], {}, 0)
  topics.forEach((topic, handle) => {
    const address = handle % 2 === 0 ? `${topic}::g` : `/topics/${topic}/queues/0`
    peer.send(attachReceiver(handle, address))
  })
  topics.forEach((_, handle) => {
    peer.send(grant(1, { handle }))
  })
  await peer.frame('transfer', links)
  t.is(asked.size, links)
  const together = [...asked.values()].reduce((sum, bytes) => sum + bytes, 0)
  t.is(together, READ_AHEAD_BYTES_MAX)
})

test('a header that is none is not passed on', async (t) => {
  const { peer } = await reader(t)
  // durable is text, and so are priority and ttl; the body is one value, x.
  const header = Buffer.from('005370c00a03a10178a10178a10178', 'hex')
  const body = Buffer.from('005377a10178', 'hex')
  peer.send(attachSender(0, 'orders'))
  await peer.frame('flow')
  peer.send(transfer({ handle: 0, delivery_id: 0 }, Buffer.concat([header, body])))
  peer.send(attachReceiver(1, 'orders::g'), flow({ handle: 1, delivery_count: 0, link_credit: 1 }))
  const { payload } = await peer.frame('transfer')
  const message = rhea.message.decode(payload as Buffer)
  t.is(message['body'], 'x')
  t.is(message['durable'], undefined)
  t.is(message['priority'], undefined)
})
