// Credits and windows are any uint: what a peer grants beyond 2^31 is as good as less.
import test from 'ava'
import { startAmqp } from '../../support/amqp-server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  type Came,
  connectRaw,
  flow,
  handshake,
  type RawPeer,
  transfer,
} from '../../support/raw-amqp.ts'

const named = (peer: RawPeer, name: string): Came[] =>
  peer.came().filter((one) => one.name === name)

const grant = (handle: number, credit: number, fields: Record<string, unknown> = {}): Buffer =>
  flow({ handle, delivery_count: 0, link_credit: credit, ...fields })

for (const most of [0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
  test(`a credit and a window of ${most} are as much as they say`, async (t) => {
    const { port } = await startAmqp(t)
    const peer = await connectRaw(t, port)
    peer.send(handshake(), begin(0, { incoming_window: most }), attachSender(0, 'orders'))
    await peer.frame('flow')
    peer.send(...[0, 1, 2].map((id) => transfer({ handle: 0, delivery_id: id })))
    await peer.until(() =>
      named(peer, 'disposition').at(-1)?.fields['last'] === 2 ? true : undefined,
    )
    peer.send(attachReceiver(1, 'orders::g'), grant(1, most, { incoming_window: most }))
    await peer.frame('transfer', 3)
    // Told again from an older view: three of them are used.
    peer.send(grant(1, most, { incoming_window: most, echo: true }))
    const left = await peer.until(() =>
      named(peer, 'flow').find(({ fields }) => fields['handle'] === 1),
    )
    t.is(left.fields['link_credit'], most - 3)
    peer.send(transfer({ handle: 0, delivery_id: 3 }))
    await peer.frame('transfer', 4)
    peer.send(grant(1, most, { delivery_count: 4, next_incoming_id: 4, drain: true }))
    const drained = await peer.until(() =>
      named(peer, 'flow').find(({ fields }) => fields['handle'] === 1 && fields['drain']),
    )
    t.is(drained.fields['link_credit'], 0)
    t.is(drained.fields['delivery_count'], (4 + most) >>> 0)
    peer.send(transfer({ handle: 0, delivery_id: 4 }))
    peer.send(grant(1, 1, { delivery_count: (4 + most) >>> 0, next_incoming_id: 4 }))
    await peer.frame('transfer', 5)
  })
}
