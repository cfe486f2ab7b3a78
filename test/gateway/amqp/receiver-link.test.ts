// What a sending peer tells of itself, and what the link that receives from it makes of that.
import test from 'ava'
import { startAmqp } from '../../support/amqp-server.ts'
import {
  attachSender,
  begin,
  connectRaw,
  flow,
  handshake,
  transfer,
} from '../../support/raw-amqp.ts'

test('credit that a sender lets go of is granted again', async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), attachSender(0, 'orders', { initial_delivery_count: 10 }))
  const { fields: first } = await peer.frame('flow')
  const credit = Number(first['link_credit'])
  peer.send(flow({ handle: 0, delivery_count: 10 + credit, link_credit: 0 }))
  const { fields: second } = await peer.frame('flow', 2)
  t.is(second['delivery_count'], 10 + credit)
  t.is(second['link_credit'], credit)
})

test("a session's numbers follow what the peer says it sent", async (t) => {
  const { port } = await startAmqp(t)
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(0, { next_outgoing_id: 5 }), attachSender(0, 'orders'))
  await peer.frame('flow')
  peer.send(transfer({ handle: 0, delivery_id: 0 }))
  peer.send(flow({ next_outgoing_id: 40, echo: true }))
  const { fields } = await peer.frame('flow', 2)
  t.is(fields['next_incoming_id'], 40)
})
