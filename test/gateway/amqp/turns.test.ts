// What one chunk, or one message, gives a hundred links to do leaves other connections their turn.
import test from 'ava'
import type { Receipt } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  accepted,
  attachReceiver,
  attachSender,
  begin,
  connectRaw,
  flow,
  frame,
  handshake,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import { coordinator, declare, inTransaction } from '../../support/amqp/raw-transactions.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { overridden } from '../../support/overridden.ts'
import { eventually } from '../../support/waiting.ts'
import { numbered, publish } from './receiving.ts'

const LINKS = 16
/** Longer than links may use of one turn. */
const STEP_MS = 25

/** Counts in how many turns of the event loop `note` was called, and how often in the fullest. */
function turnCounter(): { note: () => void; readonly most: number } {
  let [inTurn, most] = [0, 0]
  return {
    note: () => {
      if (inTurn++ === 0) {
        setImmediate(() => {
          inTurn = 0
        })
      }
      most = Math.max(most, inTurn)
    },
    get most() {
      return most
    },
  }
}

test('attaches of one chunk are taken a few in a turn', async (t) => {
  const clock = new FakeClock()
  const turns = turnCounter()
  const wrap = (broker: Broker): Broker =>
    overridden(broker, {
      topics: overridden(broker.topics, {
        get: (name: string) => {
          turns.note()
          clock.advance(STEP_MS)
          return broker.topics.get(name)
        },
      }),
    })
  const { port } = await startAmqp(t, { clock, wrap })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  await peer.frame('begin')
  peer.send(...Array.from({ length: LINKS }, (_, i) => attachReceiver(i, '/topics/T/broadcast')))
  await peer.frame('attach', LINKS)
  t.true(turns.most <= 4, `${turns.most} in one turn`)
})

test('a message for many links is written for a few in a turn', async (t) => {
  const clock = new FakeClock()
  const turns = turnCounter()
  const wrap = (broker: Broker): Broker =>
    overridden(broker, {
      // A link that wrote what it had asks for more.
      receive: (request: Parameters<Broker['receive']>[0]) => {
        if (isSent) {
          turns.note()
          clock.advance(STEP_MS)
        }
        return broker.receive(request)
      },
    })
  let isSent = false
  const { port } = await startAmqp(t, { clock, wrap })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin())
  for (let i = 0; i < LINKS; i++) peer.send(attachReceiver(i, `/topics/T/groups/g${i}`))
  await peer.frame('attach', LINKS)
  for (let i = 0; i < LINKS; i++) peer.send(flow({ handle: i, delivery_count: 0, link_credit: 9 }))
  peer.send(attachSender(LINKS, 'T'))
  await peer.frame('attach', LINKS + 1)
  isSent = true
  peer.send(transfer({ handle: LINKS, delivery_id: 0, settled: true }))
  await peer.frame('transfer', LINKS)
  t.true(turns.most > 0 && turns.most <= 4, `${turns.most} in one turn`)
})

test('of connections that are lost at once a few give back what they had in a turn', async (t) => {
  const clock = new FakeClock()
  const turns = turnCounter()
  const wrap = (broker: Broker): Broker =>
    overridden(broker, {
      abandon: (receipts: Parameters<Broker['abandon']>[0]) => {
        turns.note()
        clock.advance(STEP_MS)
        given++
        return broker.abandon(receipts)
      },
    })
  let given = 0
  const { port } = await startAmqp(t, { clock, wrap })
  const peers = await Promise.all(Array.from({ length: LINKS }, () => connectRaw(t, port)))
  for (const [i, peer] of peers.entries()) {
    peer.send(handshake({ container_id: `c${i}` }), begin(), attachReceiver(0, `T::g${i}`))
    await peer.frame('attach')
    peer.send(flow({ handle: 0, delivery_count: 0, link_credit: 9 }))
  }
  const [first] = peers
  first!.send(attachSender(1, 'T'))
  await first!.frame('attach', 2)
  first!.send(transfer({ handle: 1, delivery_id: 0, settled: true }))
  await Promise.all(peers.map((peer) => peer.frame('transfer')))
  for (const peer of peers) peer.socket.destroy()
  await eventually(async () => (given === LINKS ? true : undefined))
  t.true(turns.most <= 4, `${turns.most} in one turn`)
})

test('outcomes in a transaction for the same deliveries again and again are taken over turns', async (t) => {
  const [deliveries, dispositions] = [512, 32]
  const turns = turnCounter()
  const wrap = (broker: Broker): Broker =>
    overridden(broker, {
      extend: (receipts: readonly Receipt[], ms: number) => {
        turns.note()
        return broker.extend(receipts, ms)
      },
    })
  const { port, broker } = await startAmqp(t, { wrap })
  await publish(broker, 'T', numbered(deliveries))
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), coordinator(0), attachReceiver(1, 'T::g'))
  await peer.frame('attach', 2)
  peer.send(transfer({ handle: 0, delivery_id: 0 }, declare()))
  const { fields } = await peer.frame('disposition')
  const { value } = fields['state'] as { value: { value: Buffer }[] }
  peer.send(flow({ handle: 1, delivery_count: 0, link_credit: deliveries }))
  await peer.frame('transfer', deliveries)
  const state = inTransaction(value[0]!.value, accepted())
  const range = { role: true, first: 0, last: deliveries - 1, settled: false, state }
  peer.send(...Array.from({ length: dispositions }, () => frame('disposition', range)))
  const flows = peer.came().filter(({ name }) => name === 'flow').length
  peer.send(flow({ echo: true }))
  await peer.frame('flow', flows + 1)
  t.true(turns.most <= 4096 / deliveries, `${turns.most} in one turn`)
})
