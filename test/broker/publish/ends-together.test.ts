// Ends of half messages that came together, one of which fails.
import test from 'ava'
import type { PublishReceipt } from '../../../src/model/message.ts'
import { RecordView } from '../../../src/model/record.ts'
import type { TransactionEnd } from '../../../src/model/transaction.ts'
import type { StoreMessage } from '../../../src/store/store.ts'
import {
  bodiesOf,
  newMessage,
  pullRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'

const GROUP = 'shop'

/** Of half messages with these bodies, which are stored before. */
async function commits(
  { broker, clock }: TestBroker,
  bodies: readonly string[],
): Promise<TransactionEnd[]> {
  await broker.topics.put(topicOf('orders', 1))
  const halves = bodies.map((body) =>
    newMessage('orders', {
      ...{ queueId: 0, body, bornTimestamp: clock.now() },
      properties: { TRAN_MSG: 'true', PGROUP: GROUP, UNIQ_KEY: `id-${body}` },
    }),
  )
  const receipts = (await broker.publish(halves)) as PublishReceipt[]
  return receipts.map((half) => ({ half, group: GROUP, outcome: 'commit' }))
}

const stored = async ({ broker }: TestBroker): Promise<string[]> =>
  bodiesOf(await broker.pull(pullRequest('orders')))

function bodyIn(message: StoreMessage): Buffer {
  if ('copied' in message) return new RecordView(message.copied, message.start).body
  return Buffer.from('body' in message ? message.body : '')
}

test('a commit that the log refuses ends no other that came with it', async (t) => {
  const at = await startBroker(t)
  const ends = await commits(at, ['a', 'bad', 'c'])
  at.faults.beforeAppend = ({ messages }) => {
    for (const one of messages) {
      if (bodyIn(one).toString() === 'bad') Object.assign(one, { topic: 't'.repeat(40_000) })
    }
  }
  const results = await at.broker.transactions.endAll(ends)
  t.deepEqual(
    results.map((error) => error?.code),
    [undefined, 'MESSAGE_INVALID', undefined],
  )
  t.deepEqual(await stored(at), ['a', 'c'])
  at.faults.beforeAppend = () => {}
  await at.broker.transactions.end(ends[1]!)
  t.deepEqual(await stored(at), ['a', 'c', 'bad'])
})

test('a half message that cannot be read fails its own end alone', async (t) => {
  const at = await startBroker(t)
  const ends = await commits(at, ['a', 'bad', 'c'])
  const fault = (position: number): void => {
    if (position === ends[1]!.half.position) throw new Error('a fault')
  }
  const copyParked = at.store.copyParked.bind(at.store)
  at.store.copyParked = (position, ...rest) => {
    fault(position)
    return copyParked(position, ...rest)
  }
  const parked = at.store.parked.bind(at.store)
  at.store.parked = async (position) => {
    fault(position)
    return parked(position)
  }
  const results = await at.broker.transactions.endAll(ends)
  t.deepEqual(
    results.map((error) => error?.code),
    [undefined, 'INTERNAL', undefined],
  )
  t.deepEqual(await stored(at), ['a', 'c'])
})
