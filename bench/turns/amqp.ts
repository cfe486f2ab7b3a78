// What AMQP clients size: transactions, ranges of deliveries, links of a connection.
import {
  accepted,
  attachReceiver,
  attachSender,
  begin,
  type Came,
  connectRaw,
  encoded,
  flow,
  frame,
  handshake,
  type RawPeer,
  transfer,
} from '../../test/support/amqp/raw-amqp.ts'
import {
  coordinator,
  declare,
  discharge,
  inTransaction,
} from '../../test/support/amqp/raw-transactions.ts'
import type { Request } from './requests.ts'

/** As many as a transaction may have. */
const PARTS = 16_000
const UNSETTLED = 10_000
/** As many as a session may have. */
const LINKS = 256
const WINDOW = 0x7fff_ffff
const OUT = 1

/** Closed by the requests themselves. */
const NO_TEST = { teardown() {} } as never

async function opened(port: number): Promise<RawPeer> {
  const peer = await connectRaw(NO_TEST, port)
  peer.send(handshake(), begin(0, { incoming_window: WINDOW, outgoing_window: WINDOW }))
  await peer.frame('begin')
  return peer
}

const last = (peer: RawPeer, name: string, isIt: (came: Came) => boolean): Came | undefined =>
  peer.came().findLast((came) => came.name === name && isIt(came))

/** Sends so many messages as there is credit for them; `first`: the delivery id. */
async function sendAll(
  peer: RawPeer,
  handle: number,
  first: number,
  count: number,
  fields: object,
): Promise<void> {
  const payload = encoded({ body: 'x' })
  for (let sent = 0; sent < count; ) {
    const room = await peer.until(() => {
      const granted = last(peer, 'flow', (came) => came.fields['handle'] === handle)?.fields
      if (granted === undefined) return undefined
      const room = Number(granted['delivery_count']) + Number(granted['link_credit']) - sent
      return room > 0 ? room : undefined
    })
    const pieces: Buffer[] = []
    for (const end = Math.min(count, sent + room); sent < end; sent++) {
      const delivery_id = first + sent
      pieces.push(transfer({ handle, delivery_id, settled: true, ...fields }, payload))
    }
    peer.send(...pieces)
  }
}

const answered = (peer: RawPeer, id: number): Promise<Came> =>
  peer.until(() =>
    last(peer, 'disposition', ({ fields }) => {
      const from = Number(fields['first'])
      return fields['role'] === true && from <= id && id <= Number(fields['last'] ?? from)
    }),
  )

export const amqpRequests = (port: number): readonly Request<RawPeer>[] => [
  {
    name: `AMQP: a transaction of ${PARTS} messages: discharged`,
    prepare: async () => {
      const peer = await opened(port)
      peer.send(coordinator(0), attachSender(OUT, 'out'))
      peer.send(transfer({ handle: 0, delivery_id: 0 }, declare()))
      const { fields } = await answered(peer, 0)
      const state = fields['state'] as { value: { value: Buffer }[] }
      const txn = state.value[0]!.value
      await sendAll(peer, OUT, 1, PARTS, { state: inTransaction(txn) })
      return Object.assign(peer, { txn })
    },
    run: async (_round, peer) => {
      const { txn } = peer as RawPeer & { txn: Buffer }
      peer.send(transfer({ handle: 0, delivery_id: PARTS + 1 }, discharge(txn, false)))
      await answered(peer, PARTS + 1)
      peer.socket.destroy()
    },
  },
  {
    name: `AMQP: ${UNSETTLED} deliveries accepted in one range`,
    prepare: async (round) => {
      const peer = await opened(port)
      const name = `ranges-${round}`
      peer.send(attachSender(0, name))
      await sendAll(peer, 0, 0, UNSETTLED, {})
      peer.send(attachReceiver(1, `${name}::g`))
      peer.send(
        flow({ handle: 1, delivery_count: 0, link_credit: UNSETTLED, incoming_window: WINDOW }),
      )
      await peer.until(() =>
        last(peer, 'transfer', ({ fields }) => fields['delivery_id'] === UNSETTLED - 1),
      )
      return peer
    },
    run: async (_round, peer) => {
      const range = { role: true, first: 0, last: UNSETTLED - 1, settled: true, state: accepted() }
      peer.send(
        frame('disposition', range),
        flow({
          handle: 1,
          echo: true,
          delivery_count: UNSETTLED,
          link_credit: 1,
          incoming_window: WINDOW,
        }),
      )
      const { length } = peer.bytes
      await peer.until(() => (peer.bytes.length > length ? true : undefined))
      peer.socket.destroy()
    },
  },
  {
    name: `AMQP: ${LINKS} links: attached`,
    run: async (round) => {
      const peer = await opened(port)
      for (let handle = 0; handle < LINKS; handle++) {
        peer.send(attachReceiver(handle, `links-${handle}::g`, { name: `link-${round}-${handle}` }))
      }
      await peer.frame('attach', LINKS)
      peer.socket.destroy()
    },
  },
]
