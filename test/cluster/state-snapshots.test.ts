// States over one queue of the state topic, which is kept in an array here: with a beginning that
// moves, a broker that is away, and answers that skip a record.
import test, { type ExecutionContext } from 'ava'
import { ClusterStates } from '../../src/cluster/states/states.ts'
import { BrokerError } from '../../src/errors.ts'
import type { NewMessage, PublishResult, PullRequest } from '../../src/model/message.ts'
import { logPosition, queueOffset } from '../../src/model/positions.ts'
import { findProperty, PROPERTY } from '../../src/model/properties.ts'
import { RecordView, writeRecord } from '../../src/model/record.ts'
import { newMessage } from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { freshSeed, Random } from '../support/random.ts'

const QUEUE = { topic: 'TRIVET_STATE', brokerName: 'broker-a', queueId: 0 }
const HOST = { ip: 0x7f000001, port: 1 }

/** The queue, as its broker has it. */
class Log {
  readonly clock = new FakeClock()
  readonly records: { readonly bytes: Buffer; readonly key: string }[] = []
  /** Of a topic before, which are found by their keys alone. */
  readonly buried: { readonly bytes: Buffer; readonly key: string }[] = []
  /** What came before is gone. */
  begin = 0
  isAway = false
  /** Answers so often that skip what is there. */
  skips = 0
  /** Answers with records name an offset so far behind the last one that they have. */
  ahead = 0
  readonly #held = new Set<() => void>()

  async publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]> {
    if (this.isAway) return messages.map(() => new BrokerError('UNREACHABLE', 'it is away'))
    const results = messages.map((message) => this.#store(message))
    for (const wake of [...this.#held]) wake()
    return results
  }

  #store(message: NewMessage): PublishResult {
    const offset = queueOffset(this.records.length)
    const target = Buffer.alloc(1024 + message.body.length + message.properties.length)
    const size = writeRecord(
      target,
      0,
      { ...message, bornHost: HOST, preparedPosition: logPosition(0), queueId: 0 },
      {
        ...{ queueOffset: offset, position: logPosition(offset) },
        ...{ storeTimestamp: this.clock.now(), storeHost: HOST },
      },
    )
    const key = findProperty(message.properties, PROPERTY.keys) ?? ''
    this.records.push({ bytes: target.subarray(0, size), key })
    const { brokerName } = QUEUE
    const place = { queueId: 0, queueOffset: offset, position: logPosition(offset) }
    return { ...place, brokerName, storeHost: HOST }
  }

  async pull({ offset, maxMessages, waitMs, signal }: PullRequest) {
    const ends = { minOffset: queueOffset(this.begin), maxOffset: queueOffset(this.records.length) }
    const none = { ...ends, records: Buffer.alloc(0), count: 0, offsets: [] }
    if (offset < this.begin)
      return { ...none, status: 'moved', nextOffset: ends.minOffset } as const
    if (offset > this.records.length) {
      return { ...none, status: 'moved', nextOffset: ends.maxOffset } as const
    }
    if (offset < this.records.length && this.skips > 0) {
      this.skips--
      return { ...none, status: 'no-match', nextOffset: queueOffset(offset + 1) } as const
    }
    if (offset === this.records.length && waitMs > 0) {
      await new Promise<void>((resolve, reject) => {
        const end = (): void => {
          this.#held.delete(end)
          signal?.removeEventListener('abort', end)
          if (signal?.aborted) reject(signal.reason)
          else resolve()
        }
        this.#held.add(end)
        signal?.addEventListener('abort', end)
      })
      return { ...none, status: 'at-end', nextOffset: offset } as const
    }
    const all = this.records.slice(offset, offset + maxMessages).map(({ bytes }) => bytes)
    const some = all.slice(0, Math.max(1, all.length - this.ahead))
    const status = some.length > 0 ? 'found' : 'at-end'
    const nextOffset = queueOffset(offset + all.length)
    return { ...none, status, records: Buffer.concat(some), nextOffset } as const
  }

  find(key: string): Buffer[] {
    const found = this.records.filter((record, at) => at >= this.begin && record.key === key)
    const buried = this.buried.filter((record) => record.key === key)
    return [...buried, ...found].map(({ bytes }) => bytes).reverse()
  }

  gateway(t: ExecutionContext, clock = this.clock): ClusterStates {
    const states = new ClusterStates({
      clock,
      layout: { queues: [QUEUE], isNew: false },
      publish: (messages) => this.publish(messages),
      pull: (request) => this.pull(request),
      find: async (_brokerName, key) => this.find(key),
      remake: async () => false,
    })
    t.teardown(() => states.close())
    return states
  }

  async pass(ms: number, stepMs = 1_000): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(stepMs)
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

const HOUR_MS = 3_600_000
const textOf = async (states: ClusterStates, id: string): Promise<string | undefined> =>
  (await states.load(id))?.value.toString()

test('what a broker has deleted by its age is there for a gateway that starts', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await first.save('kept', Buffer.from('old'))
  await first.save('gone', Buffer.from('old'))
  await first.delete('gone')
  const claim = await first.claim('kept', () => {})
  await log.pass(HOUR_MS + 60_000, 5_000)
  await first.save('kept', Buffer.from('new'), { claim })
  const [end] = log.find('e-broker-a/0')
  t.truthy(end)
  log.begin = log.records.findIndex(({ key }) => key === 'n-0')
  const second = log.gateway(t)
  t.is(await textOf(second, 'kept'), 'new')
  t.is(await textOf(second, 'gone'), undefined)
  t.is(await second.claimFree('kept', () => {}), undefined)
  const taking = second.claim('kept', () => t.fail())
  await log.pass(10_000)
  t.true((await taking).number > claim.number)
})

test('gateways whose clocks are an hour apart agree on owners', async (t) => {
  const log = new Log()
  const ahead = new FakeClock(log.clock.now() + HOUR_MS)
  const [first, second] = [log.gateway(t), log.gateway(t, ahead)]
  await first.claim('one', () => t.fail('it lives'))
  await second.claim('other', () => t.fail('it lives'))
  for (let n = 0; n < 40; n++) {
    ahead.advance(1_000)
    await log.pass(1_000)
  }
  t.is(await second.claimFree('one', () => {}), undefined)
  t.is(await first.claimFree('other', () => {}), undefined)
})

test('records of a stranger change nothing', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await first.save('id', Buffer.from('value'))
  const random = new Random(freshSeed(t))
  const { bytes } = log.records[0]!
  const { body } = new RecordView(bytes)
  for (let n = 0; n < 200; n++) {
    // Of the form's beginning, or of nothing.
    const foreign = Buffer.from(body.subarray(0, random.int(body.length)))
    for (let at = 1; at < foreign.length; at++) {
      if (random.chance(0.3)) foreign[at] = random.int(256)
    }
    await log.publish([newMessage('TRIVET_STATE', { body: '', queueId: 0 })])
    await log.publish([{ ...newMessage('TRIVET_STATE'), body: foreign.fill(0xff, 20) }])
  }
  await log.pass(2_000)
  t.is(await textOf(first, 'id'), 'value')
  t.is(await textOf(log.gateway(t), 'id'), 'value')
  t.true((await first.save('id', Buffer.from('next'))) > 0)
})

test('a snapshot that is not whole is passed over', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await first.save('kept', Buffer.from('old'))
  await log.pass(HOUR_MS + 60_000, 5_000)
  const at = log.records.findIndex(({ key }) => key === 'n-0')
  log.records[at] = log.records[at + 1]!
  t.is(await textOf(log.gateway(t), 'kept'), 'old')
})

test('an answer that skips a record is asked again', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await first.save('kept', Buffer.from('old'))
  log.skips = 3
  const reading = textOf(log.gateway(t), 'kept')
  await log.pass(2_000, 200)
  t.is(await reading, 'old')
})

test('records that an answer leaves out before the offset that it names are read', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  for (const id of ['a', 'b', 'c']) await first.save(id, Buffer.from(id))
  log.ahead = 3
  const second = log.gateway(t)
  for (const id of ['a', 'b', 'c']) t.is(await textOf(second, id), id)
})

test('claims of gateways that live hold over a time without the broker', async (t) => {
  const log = new Log()
  const [first, second] = [log.gateway(t), log.gateway(t)]
  await first.claim('session', () => t.fail('it lives'))
  await log.pass(10_000)
  log.isAway = true
  await log.pass(120_000)
  log.isAway = false
  t.is(await second.claimFree('session', () => {}), undefined)
  await log.pass(30_000)
  t.is(await second.claimFree('session', () => {}), undefined)
})

test('a gateway that is gone owns nothing, by the times of the queue', async (t) => {
  const log = new Log()
  const [first, second] = [log.gateway(t), log.gateway(t)]
  await first.claim('session', () => {})
  await first.close()
  t.is(await second.claimFree('session', () => {}), undefined)
  await log.pass(30_000)
  t.truthy(await second.claimFree('session', () => {}))
})

test('where the topic was made anew, what was in it is gone for all', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await first.save('session', Buffer.from('old'))
  let isLost = false
  await first.claim('session', () => {
    isLost = true
  })
  const news: (string | undefined)[] = []
  first.watch('', ({ value }) => news.push(value?.toString()))
  log.records.length = 0
  await log.pass(20_000)
  t.true(isLost)
  t.deepEqual(news, [undefined])
  t.is(await textOf(first, 'session'), undefined)
  const version = await first.save('session', Buffer.from('new'))
  t.true(version > 0)
  t.is(await textOf(log.gateway(t), 'session'), 'new')
})

test('a snapshot of a topic before, in which there was nothing, is passed over', async (t) => {
  const log = new Log()
  const first = log.gateway(t)
  await log.pass(HOUR_MS + 60_000, 5_000)
  await first.close()
  t.is(log.find('e-broker-a/0').length, 1)
  log.buried.push(...log.records.splice(0))
  const second = log.gateway(t)
  const saving = second.save('session', Buffer.from('new'))
  await log.pass(5_000)
  await saving
  t.is(await textOf(second, 'session'), 'new')
})
