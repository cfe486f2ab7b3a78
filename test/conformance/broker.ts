// What the Broker port promises (src/port/broker.ts), as one suite over any broker: nothing here
// looks behind the port. A driver says what its broker lacks; each such flag is a difference that
// the documentation names.
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import type { Broker } from '../../src/port/broker.ts'
import { definitions } from './broker/definitions.ts'
import { failing } from './broker/failing.ts'
import { membership } from './broker/membership.ts'
import { popping } from './broker/popping.ts'
import { publishing } from './broker/publishing.ts'
import { publishingAndSettling } from './broker/publishing-and-settling.ts'
import { reading } from './broker/reading.ts'
import { receiving } from './broker/receiving.ts'
import { replies } from './broker/replies.ts'
import { settling } from './broker/settling.ts'
import { claims, states } from './broker/states.ts'
import { transactions } from './broker/transactions.ts'

/** One broker for all tests of a file; each test has names of its own. */
export interface BrokerUnderTest {
  readonly port: Broker
  /** Time passes by the broker's clock; calls made before have reached the broker. */
  pass(ms: number): Promise<void>
  /** By the broker's clock, epoch ms. */
  now(): number
  /** From now on calls fail now and then, until what it answers is called. */
  fail?(): () => void
}

/** What a broker may lack or do otherwise. */
export interface Differences {
  /** No light queues. */
  readonly lightQueues?: true
  /** `available` tells of new messages alone. */
  readonly available?: true
  /** A message is not kept from a consumer, and notes are lost. */
  readonly handBack?: true
  /** What is released, refused or abandoned does not come again at once, nor in its order. */
  readonly promptReturn?: true
  /** Members by queue and per message may be in one group. */
  readonly mixedGroups?: true
  /** No locks of queues, which are for native members: NOT_SUPPORTED. */
  readonly queueLocks?: true
  /** No receiving by names, which is for the native front-end: NOT_SUPPORTED. */
  readonly pops?: true
  /** No half messages: NOT_SUPPORTED. */
  readonly transactions?: true
  /** Messages of one transaction go to one queue; what is received is settled behind them. */
  readonly together?: true
  /** Brokers of a cluster have permissions of their own: NOT_SUPPORTED. */
  readonly permission?: true
  /** No gateway of this port has native clients, which replies are pushed to. */
  readonly replies?: true
  /** So often is a case asked: of a foreign broker, whose processes share the cores with others. */
  readonly tries?: number
  /** A dead letter does not say why. */
  readonly reasons?: true
}

/** Of a broker that is a cluster, whichever brokers it is made of. */
export const CLUSTER_DIFFERENCES: Differences = {
  lightQueues: true,
  available: true,
  handBack: true,
  promptReturn: true,
  mixedGroups: true,
  pops: true,
  queueLocks: true,
  together: true,
  permission: true,
  replies: true,
  reasons: true,
}

export type Case = (
  title: string,
  body: (t: ExecutionContext, broker: BrokerUnderTest) => Promise<void>,
  /** The test does not apply to a broker with this difference. */
  unless?: keyof Differences,
) => void

const test: TestFn = anyTest

export function brokerSuite(brokerOf: () => BrokerUnderTest, differences: Differences = {}): void {
  // One after the other, as they share the clock.
  const run: Case = (title, body, unless) => {
    if (unless !== undefined && differences[unless]) return
    test.serial(title, async (t) => {
      if (differences.tries === undefined) return body(t, brokerOf())
      for (let left = differences.tries; ; left--) {
        const attempt = await t.try((again) => body(again, brokerOf()))
        if (attempt.passed || left === 1) return attempt.commit()
        t.log(`tried again: ${attempt.errors.map(({ message }) => message).join(', ')}`)
        attempt.discard()
      }
    })
  }
  run('it says whether it has light queues', async (t, { port }) => {
    t.is(port.lightQueues === undefined, differences.lightQueues === true)
  })
  publishing(run)
  if (!differences.replies) replies(run)
  reading(run)
  receiving(run)
  settling(run)
  if (!differences.pops) popping(run)
  publishingAndSettling(run)
  if (!differences.transactions) transactions(run)
  definitions(run)
  membership(run)
  states(run)
  claims(run)
  failing(run)
}
