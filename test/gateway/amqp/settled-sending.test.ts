// Messages that are sent settled have no answer: one that cannot be stored costs its link, with the
// reason and the message's delivery-tag, and is not gone without a word.
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { startAmqp } from '../../support/amqp-server.ts'
import { overridden } from '../../support/overridden.ts'
import {
  attachSender,
  begin,
  conditionOf,
  connectRaw,
  encoded,
  handshake,
  type RawPeer,
  target,
  transfer,
} from '../../support/raw-amqp.ts'

const TAG = Buffer.from('tag-7')

interface Told {
  readonly condition: string | undefined
  readonly tag: string | undefined
}

/** What the detach says. */
async function detached(peer: RawPeer): Promise<Told> {
  const came = await peer.frame('detach')
  const { info } = came.fields['error'] as { info?: Record<string, Buffer> }
  return { condition: conditionOf(came), tag: info?.['delivery-tag']?.toString() }
}

const settled = (payload: Buffer, fields: object = {}): Buffer =>
  transfer({ handle: 0, delivery_id: 0, delivery_tag: TAG, settled: true, ...fields }, payload)

async function sending(
  t: Parameters<typeof connectRaw>[0],
  port: number,
  fields: object = {},
): Promise<RawPeer> {
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { snd_settle_mode: 1, ...fields }))
  await peer.frame('flow')
  return peer
}

test('one that cannot be decoded', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await sending(t, port)
  peer.send(settled(Buffer.from('no sections')))
  t.deepEqual(await detached(peer), { condition: 'amqp:decode-error', tag: 'tag-7' })
})

test('one that is relayed to what is no node', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await sending(t, port, { target: target({}) })
  peer.send(settled(encoded({ to: '/nodes/x', body: 'x' })))
  t.deepEqual(await detached(peer), { condition: 'amqp:not-found', tag: 'tag-7' })
})

test('one beyond max-message-size', async (t) => {
  const { port } = await startAmqp(t, { limits: { messageBytesMax: 1000 } })
  const peer = await sending(t, port)
  peer.send(settled(encoded({ body: 'x'.repeat(1001) })))
  t.deepEqual(await detached(peer), { condition: 'amqp:link:message-size-exceeded', tag: 'tag-7' })
})

test('the second of three, of several frames, that the broker does not take; and no other is blamed', async (t) => {
  let calls = 0
  const { port, broker } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        publish: async (messages) => {
          const results = [...(await real.publish(messages))]
          for (const [i, { body }] of messages.entries()) {
            calls++
            if (Buffer.from(body).includes('bad')) {
              results[i] = new BrokerError('READ_ONLY', 'the disk is full')
            }
          }
          return results
        },
      }),
  })
  const peer = await sending(t, port)
  const bad = encoded({ body: 'this one is bad' })
  peer.send(
    settled(encoded({ body: 'good' }), { delivery_tag: Buffer.from('one') }),
    settled(bad.subarray(0, 8), { delivery_id: 1, more: true }),
    settled(bad.subarray(8), { delivery_id: undefined, delivery_tag: undefined }),
    settled(encoded({ body: 'good' }), { delivery_id: 2, delivery_tag: Buffer.from('three') }),
  )
  t.deepEqual(await detached(peer), { condition: 'amqp:resource-limit-exceeded', tag: 'tag-7' })
  t.is(calls, 3)
  t.truthy(await broker.topics.get('orders'))
  t.deepEqual(
    peer.came().filter(({ name }) => name === 'disposition'),
    [],
  )
})
