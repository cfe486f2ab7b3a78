// An elected group under load of three protocols, and the end of that: everything that was
// acknowledged is read by a consumer, and stands in each log.
import type { ExecutionContext } from 'ava'
import { type Client, connect } from '../../../src/client/index.ts'
import type { ConfigInput } from '../../../src/config.ts'
import { eventually } from '../../../test/support/waiting.ts'
import { type ElectedBrokers, type ElectedOptions, startElected } from '../elected-brokers.ts'
import { assertHistory } from './failover-history.ts'
import { type Load, missingOf, startLoads } from './failover-load.ts'

export const TOPIC = 'T'

/** A busy machine is no reason for an election, and a stop in order waits for no lease. */
export const LONG_LEASE: ConfigInput = { replication: { etcd: { leaseMs: 10_000 } } }

export interface LoadedGroup {
  readonly group: ElectedBrokers
  readonly mq: Client
  readonly loads: readonly Load[]
}

export const untilAll = (loads: readonly Load[], sinceMs: number): Promise<unknown> =>
  eventually(async () => loads.every((load) => load.after(sinceMs) !== undefined))

/** With a topic that all copies have, and clients that send to it. */
export async function electedUnderLoad(
  t: ExecutionContext,
  options: ElectedOptions,
): Promise<LoadedGroup> {
  const group = await startElected(t, options)
  const nameServers = group.nameServer.address('nameServer')
  const mq = await connect({ nameServers, timeoutMs: 2_000 })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await group.settled()
  await eventually(async () => {
    try {
      return (await mq.admin.topics.create({ name: TOPIC, queues: 4 })) ?? true
    } catch {
      return undefined
    }
  })
  const loads = startLoads(t, group, TOPIC)
  await untilAll(loads, performance.now())
  return { group, mq, loads }
}

/** Ends the load, and the brokers. */
export async function assertAllThere(
  t: ExecutionContext,
  { group, mq, loads }: LoadedGroup,
): Promise<void> {
  await group.settled()
  await untilAll(loads, performance.now())
  for (const load of loads) await load.end()
  const bodies = loads.flatMap((load) => load.acknowledged.map(({ body }) => body))
  const missing = await missingOf(mq, TOPIC, bodies)
  if (missing.size > 0) for (const { stderr } of group.brokers) t.log(stderr)
  t.deepEqual([...missing], [])
  await assertHistory(t, group, loads, TOPIC)
}
