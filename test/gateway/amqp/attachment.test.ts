// How a peer's attach is answered.
import test from 'ava'
import { startAmqp } from '../../support/amqp-server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  conditionOf,
  connectRaw,
  handshake,
} from '../../support/raw-amqp.ts'

for (const [what, attach] of [
  ['receiver', attachReceiver(0, '/nodes/x')],
  ['sender', attachSender(0, '/nodes/x')],
] as const) {
  test(`a refused ${what} has neither source nor target, and hears why`, async (t) => {
    const { port } = await startAmqp(t)
    const peer = await connectRaw(t, port)
    peer.send(handshake(), begin(), attach)
    const { fields } = await peer.frame('attach')
    for (const terminus of ['source', 'target']) t.like(fields[terminus], { value: null })
    const detach = await peer.frame('detach')
    t.is(conditionOf(detach), 'amqp:not-found')
    t.true(detach.fields['closed'])
  })
}
