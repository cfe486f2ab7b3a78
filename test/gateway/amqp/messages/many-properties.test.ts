// However long a message's properties are, the other connections have their turns.
import test from 'ava'
import { PREPARED_PER_TURN_MAX } from '../../../../src/gateway/amqp/limits.ts'
import { OutboundMessage } from '../../../../src/gateway/amqp/messages/outbound-message.ts'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import {
  attachReceiver,
  begin,
  connectRaw,
  flow,
  handshake,
} from '../../../support/amqp/raw-amqp.ts'
import { newMessage } from '../../../support/broker.ts'
import { countTurns } from '../../../support/turns.ts'

const COUNT = 30

test('messages with very many properties go out over several turns, all of them', async (t) => {
  const { port, broker } = await startAmqp(t)
  await broker.publish(
    Array.from({ length: COUNT }, (_, i) =>
      newMessage('orders', { queueId: 0, properties: { [`p${i}`]: 'x'.repeat(30_000) } }),
    ),
  )
  const turn = countTurns(t)
  const turns = new Set<number>()
  const { load } = OutboundMessage.prototype
  OutboundMessage.prototype.load = function (...given) {
    turns.add(turn())
    return load.apply(this, given)
  }
  t.teardown(() => {
    OutboundMessage.prototype.load = load
  })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(0, { incoming_window: 2 ** 20 }))
  peer.send(attachReceiver(0, 'orders::g'))
  peer.send(flow({ handle: 0, delivery_count: 0, link_credit: COUNT, incoming_window: 2 ** 20 }))
  const received = new Set<unknown>()
  await peer.until(() => {
    for (const { name, fields } of peer.came()) {
      if (name === 'transfer' && fields['more'] !== true) received.add(fields['delivery_id'])
    }
    return received.size === COUNT ? true : undefined
  })
  t.true(turns.size >= (COUNT * 30_000) / PREPARED_PER_TURN_MAX - 2, `${turns.size} turns`)
})
