// What the SDK promises, checked against any RocketMQ: our broker in the default tests, Apache's in
// the interop tests. One suite for both says that the protocol between them is the real one.
import test, { type ExecutionContext } from 'ava'
import { type Client, type ConnectOptions, connect } from '../../src/client/index.ts'
import { consuming, inOrder, retrying, sharing } from './sdk/consuming.ts'
import { survives } from './sdk/crash.ts'
import { popping } from './sdk/popping.ts'
import { administration, reading } from './sdk/reading.ts'
import { sending } from './sdk/sending.ts'
import { nameOf } from './sdk/support.ts'
import { transactions } from './sdk/transactions.ts'

export interface Peer {
  readonly nameServer: string
  readonly broker: string
  /** kill -9, and up again on the same data and port. */
  restart(): Promise<void>
}

/** A JVM that has just come up is slow; all topics at once would be too many for it (BUSY). */
const PATIENCE_MS = 60_000

export function sdkSuite(peerOf: () => Peer): void {
  const client = async (t: ExecutionContext, options: ConnectOptions = {}): Promise<Client> => {
    const made = await connect({
      nameServers: peerOf().nameServer,
      timeoutMs: PATIENCE_MS,
      ...options,
    })
    t.teardown(() => made.close({ deadlineMs: 0 }))
    return made
  }
  let last: Promise<unknown> = Promise.resolve()
  const topic = (mq: Client, queues = 4): Promise<string> => {
    const name = nameOf('sdk')
    const made = last
      .catch(() => {})
      .then(() => mq.admin.topics.create({ name, queues }, { timeoutMs: PATIENCE_MS }))
      .then(() => name)
    last = made
    return made
  }

  sending(client, topic)
  transactions(client, topic)
  consuming(client, topic)
  sharing(client, topic)
  inOrder(client, topic)
  retrying(client, topic)
  popping(client, topic)
  reading(client, topic)
  administration(client, topic)
  test.serial('the broker dies and comes back: nothing accepted is lost', async (t) => {
    await survives(t, client, topic, () => peerOf().restart())
  })
}
