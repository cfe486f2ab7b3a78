// Local transactions (AMQP 4), frame by frame: posted messages and outcomes hold together once they
// are discharged, and by no other way.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { BrokerError } from '../../../src/errors.ts'
import { Transaction } from '../../../src/gateway/amqp/links/transaction.ts'
import type { NewMessage, Receipt } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { type AmqpServerOptions, startAmqp } from '../../support/amqp/amqp-server.ts'
import {
  accepted,
  attachReceiver,
  attachSender,
  begin,
  type Came,
  conditionOf,
  connectRaw,
  encoded,
  flow,
  frame,
  handshake,
  type RawPeer,
  source,
  transfer,
} from '../../support/amqp/raw-amqp.ts'
import {
  binary,
  coordinator,
  declare,
  described,
  discharge,
  inTransaction,
} from '../../support/amqp/raw-transactions.ts'
import { bodyText, connectRhea } from '../../support/amqp/rhea-client.ts'
import { bodiesOf, newMessage, pullRequest } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { overridden } from '../../support/overridden.ts'
import { eventually } from '../../support/waiting.ts'
import { inFlight, publish } from './receiving.ts'

interface Typed {
  readonly descriptor?: { readonly value: number }
  readonly value: unknown
}

const COORDINATOR = 0
const OUT = 1
const IN = 2

const stateOf = (came: Came): Typed => came.fields['state'] as Typed
const codeOf = (state: Typed): number | undefined => state.descriptor?.value

/** The condition of a rejected state. */
const whyRejected = (state: Typed): unknown => {
  if (codeOf(state) !== 0x25) return undefined
  const [error] = state.value as [Typed]
  const [condition] = error.value as [Typed]
  return condition.value
}

/** A peer with a coordinator, a link to `out`, and one from `in` in the group g. */
class Controller {
  readonly peer: RawPeer
  #deliveries = 0

  constructor(peer: RawPeer) {
    this.peer = peer
  }

  /** The answer to a delivery of ours. */
  async answer(id: number): Promise<Typed> {
    const came = await this.peer.until(() =>
      this.peer.came().find(({ name, fields }) => {
        const [first, last] = [Number(fields['first'] ?? 0), Number(fields['last'] ?? 0)]
        return name === 'disposition' && fields['role'] === true && first <= id && id <= last
      }),
    )
    return stateOf(came)
  }

  send(handle: number, payload: Buffer, fields: object = {}): number {
    const id = this.#deliveries++
    const delivery = { handle, delivery_id: id, delivery_tag: Buffer.from([id]), ...fields }
    this.peer.send(transfer(delivery, payload))
    return id
  }

  /** To the coordinator. */
  ask(request: Buffer, fields: object = {}): number {
    return this.send(COORDINATOR, request, fields)
  }

  async declare(): Promise<Buffer> {
    const state = await this.answer(this.ask(declare()))
    if (codeOf(state) !== 0x33) throw new Error(`not declared: ${whyRejected(state)}`)
    return (state.value as { value: Buffer }[])[0]!.value
  }

  post(txn: Buffer, body: string, fields: object = {}): number {
    return this.send(OUT, encoded({ body }), { state: inTransaction(txn), ...fields })
  }

  discharge(txn: Buffer, fail = false): Promise<Typed> {
    return this.answer(this.ask(discharge(txn, fail)))
  }

  /** So many messages of the group. */
  async receive(count: number): Promise<number[]> {
    const before = this.peer.came().filter(({ name }) => name === 'transfer').length
    this.peer.send(flow({ handle: IN, delivery_count: before, link_credit: count }))
    await this.peer.frame('transfer', before + count)
    const transfers = this.peer.came().filter(({ name }) => name === 'transfer')
    return transfers
      .slice(before, before + count)
      .map(({ fields }) => Number(fields['delivery_id'] ?? 0))
  }

  retire(txn: Buffer, id: number, settled: boolean, outcome: object = accepted()): void {
    const state = inTransaction(txn, outcome)
    this.peer.send(frame('disposition', { role: true, first: id, settled, state }))
  }
}

async function setUp(t: ExecutionContext, options: AmqpServerOptions = {}, attach: object = {}) {
  const server = await startAmqp(t, options)
  const { broker, port } = server
  await publish(broker, 'in', ['a', 'b', 'c'], {}, 0)
  await publish(broker, 'out', [], {})
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(), coordinator(COORDINATOR, attach))
  peer.send(attachSender(OUT, '/topics/out/queues/0'), attachReceiver(IN, 'in::g'))
  await peer.frame('attach', 3)
  const stored = async (): Promise<string[]> =>
    bodiesOf(await broker.pull(pullRequest('out', { maxMessages: 100 })))
  return { ...server, control: new Controller(peer), peer, stored }
}

/** What another consumer of the group gets now, with the failed deliveries of each. */
async function others(t: ExecutionContext, port: number): Promise<[string, number][]> {
  const receiver = await (await connectRhea(t, port)).receiver('in::g')
  receiver.credit(10)
  await receiver.drain()
  const got: [string, number][] = []
  while (receiver.backlog > 0) {
    const { message } = await receiver.take()
    got.push([bodyText(message), message?.delivery_count ?? 0])
  }
  receiver.link.close()
  return got
}

test('the coordinator says what it can do', async (t) => {
  const { peer } = await setUp(t)
  const target = (await peer.frame('attach')).fields['target'] as Typed
  t.is(codeOf(target), 0x30)
  t.true(JSON.stringify(target.value).includes('amqp:local-transactions'))
})

test('posted messages are stored in their order when the transaction is discharged', async (t) => {
  const { control, stored } = await setUp(t)
  const txn = await control.declare()
  const ids = ['1', '2', '3'].map((body) => control.post(txn, body))
  for (const id of ids) {
    const state = await control.answer(id)
    t.is(codeOf(state), 0x34)
    const [txnId, outcome] = state.value as Typed[]
    t.deepEqual(txnId!.value, txn)
    t.is(codeOf(outcome!), 0x24)
  }
  t.deepEqual(await stored(), [])
  t.is(codeOf(await control.discharge(txn)), 0x24)
  t.deepEqual(await stored(), ['1', '2', '3'])
})

test('what was sent outside of the transaction before its discharge stands before it', async (t) => {
  const { control, stored } = await setUp(t)
  const txn = await control.declare()
  control.post(txn, 'in it')
  control.send(OUT, encoded({ body: 'outside' }))
  t.is(codeOf(await control.discharge(txn)), 0x24)
  t.deepEqual(await stored(), ['outside', 'in it'])
})

test('a message in several frames, and one that is sent settled, belong to it too', async (t) => {
  const { control, stored } = await setUp(t)
  const txn = await control.declare()
  const whole = encoded({ body: 'x'.repeat(1000) })
  const state = inTransaction(txn)
  const first = { handle: OUT, delivery_id: 1, more: true, state }
  control.peer.send(transfer(first, whole.subarray(0, 500)))
  control.peer.send(transfer({ handle: OUT, delivery_tag: null }, whole.subarray(500)))
  control.send(OUT, encoded({ body: 'skips the id of that one' }), {
    delivery_id: 2,
    settled: true,
    state,
  })
  control.ask(discharge(txn, false), { delivery_id: 3 })
  t.is(codeOf(await control.answer(3)), 0x24)
  t.deepEqual((await stored()).map((body) => body.length), [1000, 24]) // biome-ignore format: one line
})

test('a rollback stores nothing', async (t) => {
  const { control, stored } = await setUp(t)
  const txn = await control.declare()
  control.post(txn, 'x')
  t.is(codeOf(await control.discharge(txn, true)), 0x24)
  t.deepEqual(await stored(), [])
})

test("a message that is retired in a transaction is no other consumer's while that is open, and comes again after a rollback", async (t) => {
  const { control, port, broker } = await setUp(t)
  const txn = await control.declare()
  const [first] = await control.receive(1)
  control.retire(txn, first!, true)
  await control.declare()
  t.deepEqual(await others(t, port), [['b', 0], ['c', 0]]) // biome-ignore format: pairs
  t.is(codeOf(await control.discharge(txn, true)), 0x24)
  const back = await eventually(async () => {
    const got = await others(t, port)
    return got.length === 3 ? got : undefined
  })
  t.deepEqual(back[0], ['a', 1])
  await eventually(async () => ((await inFlight(broker, 'g')) === 0 ? true : undefined))
})

test('messages and outcomes hold together', async (t) => {
  const { control, port, stored } = await setUp(t)
  const txn = await control.declare()
  const [first, second, third] = await control.receive(3)
  control.retire(txn, first!, true)
  control.retire(txn, second!, true, described(0x25))
  control.retire(txn, third!, true, described(0x26))
  control.post(txn, 'answer')
  t.is(codeOf(await control.discharge(txn)), 0x24)
  t.deepEqual(await stored(), ['answer'])
  t.deepEqual(await others(t, port), [['c', 0]])
  const dead = await (await connectRhea(t, port)).receiver('/groups/g/dlq')
  const [message] = await dead.accept(1)
  t.is(bodyText(message!), 'b')
})

test('a delivery that the peer keeps until the discharge: settled by a commit, still its own after a rollback', async (t) => {
  const { control, peer, port } = await setUp(t)
  const [first, second] = await control.receive(2)
  const lost = await control.declare()
  control.retire(lost, first!, false)
  t.is(codeOf(await control.discharge(lost, true)), 0x24)
  t.deepEqual(await others(t, port), [['c', 0]])
  const kept = await control.declare()
  control.retire(kept, first!, false)
  control.retire(kept, second!, false)
  t.is(codeOf(await control.discharge(kept)), 0x24)
  const settled = peer
    .came()
    .filter(({ name, fields }) => name === 'disposition' && !fields['role'])
  t.deepEqual(
    settled.map(({ fields }) => [Number(fields['first'] ?? 0), fields['settled']]),
    [
      [first!, true],
      [second!, true],
    ],
  )
  t.deepEqual(await others(t, port), [['c', 0]])
})

test('an outcome outside of the transaction takes the place of the one in it', async (t) => {
  const { control, port } = await setUp(t)
  const [first] = await control.receive(1)
  const txn = await control.declare()
  control.retire(txn, first!, false, described(0x25))
  control.peer.send(frame('disposition', { role: true, first, settled: true, state: accepted() }))
  t.is(codeOf(await control.discharge(txn)), 0x24)
  t.deepEqual(await others(t, port), [['b', 0], ['c', 0]]) // biome-ignore format: pairs
})

test('a transaction that is not there', async (t) => {
  const { control, peer } = await setUp(t)
  const id = Buffer.from('nothere!')
  const unknown = 'amqp:transaction:unknown-id'
  t.is(whyRejected(await control.discharge(id)), unknown)
  t.is(whyRejected(await control.answer(control.post(id, 'x'))), unknown)
  const txn = await control.declare()
  await control.discharge(txn)
  t.is(whyRejected(await control.discharge(txn)), unknown)
  const [first] = await control.receive(1)
  control.retire(txn, first!, true)
  t.is(conditionOf(await peer.frame('end')), unknown)
})

test('a message that cannot be stored takes the transaction with it', async (t) => {
  const { control, peer, stored } = await setUp(t)
  peer.send(attachSender(3, 'relay', { target: source({}) }))
  peer.send(frame('attach', { name: 'relay', handle: 4, role: false, source: source({}), initial_delivery_count: 0, target: described(0x29) })) // biome-ignore format: one line
  await peer.frame('attach', 4)
  const txn = await control.declare()
  control.post(txn, 'good')
  const bad = control.send(4, encoded({ body: 'without an address' }), {
    state: inTransaction(txn),
  })
  t.is(whyRejected(await control.answer(bad)), 'amqp:not-found')
  t.is(whyRejected(await control.answer(control.post(txn, 'too late'))), 'amqp:not-found')
  t.is(whyRejected(await control.discharge(txn)), 'amqp:transaction:rollback')
  t.deepEqual(await stored(), [])
})

test('what a failed transaction lets go of at once is handed back at once', async (t) => {
  const handedBack: number[] = []
  const wrap = (broker: Broker): Broker =>
    overridden(broker, {
      nack: (receipts: readonly Receipt[], delayMs: number | undefined) => {
        handedBack.push(receipts.length)
        return broker.nack(receipts, delayMs)
      },
    })
  const { control, peer } = await setUp(t, { wrap })
  const txn = await control.declare()
  await control.answer(control.send(OUT, Buffer.from('ff', 'hex'), { state: inTransaction(txn) }))
  await control.receive(3)
  const state = inTransaction(txn, accepted())
  peer.send(frame('disposition', { role: true, first: 0, last: 0x7fffffff, settled: true, state }))
  await eventually(async () => handedBack.length > 0 || undefined)
  t.deepEqual(handedBack, [3])
})

test('discharges that wait for one another count against the credit of their link', async (t) => {
  const wrap = (broker: Broker): Broker =>
    overridden(broker, { publishAndSettle: () => new Promise<never>(() => {}) })
  const { control, peer } = await setUp(t, { wrap })
  const txn = await control.declare()
  for (let i = 0; i < 100; i++) control.ask(discharge(txn, false))
  const came = await peer.frame('detach')
  t.is(conditionOf(came), 'amqp:link:transfer-limit-exceeded')
})

test('the end of the coordinator, or of the connection, rolls back', async (t) => {
  const { control, peer, port, stored } = await setUp(t)
  const txn = await control.declare()
  const [first] = await control.receive(1)
  control.retire(txn, first!, true)
  control.post(txn, 'x')
  peer.send(frame('detach', { handle: COORDINATOR, closed: true }))
  await peer.frame('detach')
  t.is(whyRejected(await control.answer(control.post(txn, 'y'))), 'amqp:transaction:unknown-id')
  await eventually(async () => ((await others(t, port)).length === 3 ? true : undefined))
  peer.send(coordinator(COORDINATOR))
  await peer.frame('attach', 4)
  const next = await control.declare()
  const [again] = await control.receive(1)
  control.retire(next, again!, true)
  peer.socket.destroy()
  await eventually(async () => ((await others(t, port)).length === 3 ? true : undefined))
  t.deepEqual(await stored(), [])
})

test('a transaction is rolled back when its time is over, and says so; one without work has no time', async (t) => {
  const clock = new FakeClock()
  const limits = { transactionMs: 1000, idleMs: 3_600_000 }
  const { control, broker, stored } = await setUp(t, { clock, limits })
  const idle = await control.declare()
  const txn = await control.declare()
  const [first] = await control.receive(1)
  control.retire(txn, first!, true)
  await control.answer(control.post(txn, 'x'))
  clock.advance(1001)
  await eventually(async () => ((await inFlight(broker, 'g')) === 0 ? true : undefined))
  const timeout = 'amqp:transaction:timeout'
  t.is(whyRejected(await control.answer(control.post(txn, 'y'))), timeout)
  t.is(whyRejected(await control.discharge(txn)), timeout)
  control.post(idle, 'late')
  t.is(codeOf(await control.discharge(idle)), 0x24)
  t.deepEqual(await stored(), ['late'])
})

test('messages of an open transaction are kept from others beyond the lock of their link', async (t) => {
  const clock = new FakeClock()
  const limits = { transactionMs: 60_000, lockMs: 1000, idleMs: 3_600_000 }
  const { control, broker, port } = await setUp(t, { clock, limits })
  const [first] = await control.receive(1)
  const txn = await control.declare()
  control.retire(txn, first!, false)
  await control.declare()
  clock.advance(30_000)
  t.is(await inFlight(broker, 'g'), 1)
  t.is(codeOf(await control.discharge(txn)), 0x24)
  t.deepEqual(await others(t, port), [['b', 0], ['c', 0]]) // biome-ignore format: pairs
})

test('so many transactions may be open on one connection', async (t) => {
  const { control } = await setUp(t)
  const all = []
  for (let i = 0; i < 64; i++) all.push(await control.declare())
  const one = await control.answer(control.ask(declare()))
  t.is(whyRejected(one), 'amqp:resource-limit-exceeded')
  await control.discharge(all[0]!)
  await control.declare()
})

test('distributed transactions and acquiring in one are refused', async (t) => {
  const { control, peer } = await setUp(t)
  const refused = await control.answer(control.ask(declare('global')))
  t.is(whyRejected(refused), 'amqp:not-implemented')
  const txn = await control.declare()
  const properties = { 'txn-id': binary(txn) }
  peer.send(flow({ handle: IN, delivery_count: 0, link_credit: 1, properties }))
  t.is(conditionOf(await peer.frame('detach')), 'amqp:not-implemented')
})

test('a message to the coordinator that is neither is refused', async (t) => {
  const { control } = await setUp(t)
  const state = await control.answer(control.ask(encoded({ body: 'text' })))
  t.is(whyRejected(state), 'amqp:decode-error')
  await control.declare()
})

test('a message to the coordinator of very many pieces costs its link', async (t) => {
  const { peer } = await setUp(t)
  const piece = { handle: COORDINATOR, delivery_id: 0, delivery_tag: Buffer.of(0), more: true }
  peer.send(...Array.from({ length: 33 }, () => transfer(piece, Buffer.alloc(0))))
  t.is(conditionOf(await peer.frame('detach')), 'amqp:link:message-size-exceeded')
})

test('a controller that takes no rejection loses its link', async (t) => {
  const attach = { source: source({ outcomes: ['amqp:accepted:list'] }) }
  const { control, peer } = await setUp(t, {}, attach)
  void control.discharge(Buffer.from('nothere!')).catch(() => {})
  t.is(conditionOf(await peer.frame('detach')), 'amqp:transaction:unknown-id')
})

/** A broker whose transactions fail. */
const failing =
  (code: 'BUSY' | 'READ_ONLY') =>
  (broker: Broker): Broker =>
    new Proxy(broker, {
      get: (target, name) => {
        if (name === 'publishAndSettle') {
          return () => Promise.reject(new BrokerError(code, 'for the test'))
        }
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })

test('a broker that takes nothing: rolled back, and what was received comes again', async (t) => {
  const { control, port } = await setUp(t, { wrap: failing('BUSY') })
  const txn = await control.declare()
  const [first] = await control.receive(1)
  control.retire(txn, first!, true)
  t.is(whyRejected(await control.discharge(txn)), 'amqp:transaction:rollback')
  const got = await eventually(async () => {
    const all = await others(t, port)
    return all.length === 3 ? all : undefined
  })
  t.deepEqual(got[0], ['a', 1])
})

test('a disk that failed while it wrote: the transaction is not said to be rolled back', async (t) => {
  const { control } = await setUp(t, { wrap: failing('READ_ONLY') })
  const txn = await control.declare()
  control.post(txn, 'x')
  t.is(whyRejected(await control.discharge(txn)), 'amqp:resource-limit-exceeded')
})

test('grants are looked at again at the discharge', async (t) => {
  const denied = new Set<string>()
  const auth = overridden(new UserStore({}, new FakeClock()), {
    authorize: (_: unknown, action: string) => {
      if (denied.has(action)) throw new BrokerError('PERMISSION_DENIED', `no ${action}`)
    },
  })
  const { control, stored } = await setUp(t, { auth })
  for (const action of ['publish', 'consume']) {
    const [received] = await control.receive(1)
    const txn = await control.declare()
    control.retire(txn, received!, true)
    await control.answer(control.post(txn, 'x'))
    denied.add(action)
    t.is(whyRejected(await control.discharge(txn)), 'amqp:transaction:rollback', action)
    denied.clear()
  }
  t.deepEqual(await stored(), [])
})

test('the bytes of all open transactions are bounded', (t) => {
  const total = { bytes: 0, bytesMax: 100 }
  const body = (bytes: number): NewMessage => newMessage('out', { body: 'x'.repeat(bytes) })
  const one = new Transaction(Buffer.from('1'), total)
  const two = new Transaction(Buffer.from('2'), total)
  t.true(one.post(body(60)))
  t.false(two.post(body(60)))
  t.is(two.failure?.condition, 'amqp:resource-limit-exceeded')
  t.is(total.bytes, 60)
  one.rollBack(false)
  t.is(total.bytes, 0)
})
