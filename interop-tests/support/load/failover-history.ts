// What the copies of an elected broker did, judged by their logs once they are killed: what was
// acknowledged is in all of them as its master wrote it, and no epoch has two masters.
import type { ExecutionContext } from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { formatHost, NO_HOST } from '../../../src/model/host.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { electionOf } from '../../../src/replication/election/group-state.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'
import type { SpawnedServer } from '../../../test/support/server.ts'
import type { ElectedBrokers } from '../elected-brokers.ts'
import type { Load } from './failover-load.ts'

/** A message as a copy has it. */
interface Stored {
  readonly body: string
  readonly position: number
  readonly election: number
  /** host:port of the master that wrote it. */
  readonly by: string
}

async function storedIn(dataDir: string, topic: string): Promise<readonly Stored[]> {
  const log = openCommitLog({
    ...{ directory: `${dataDir}/log`, disk: nodeDisk, clock: systemClock, log: silentLogger },
    ...{ storeHost: NO_HOST, flush: 'sync', reserveBytes: 0 },
  })
  const { epochs } = log.history
  const epochAt = (position: number): number =>
    epochs.findLast((begun) => begun.position <= position)?.epoch ?? 0
  const stored: Stored[] = []
  for (const frame of log.replay(log.start)) {
    const election = electionOf(epochAt(frame.firstRecord))
    for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
      if (record.topic !== topic) continue
      const { position, storeHost } = record
      stored.push({
        ...{ body: record.body.toString(), position, election },
        by: formatHost(storeHost),
      })
    }
  }
  await log.close()
  return stored
}

/** By election: the copies that say that they won it. */
function winnersOf(brokers: readonly SpawnedServer[]): ReadonlyMap<number, ReadonlySet<string>> {
  const winners = new Map<number, Set<string>>()
  for (const broker of brokers) {
    for (const line of broker.stderr.split('\n')) {
      if (!line.includes('"election.won"')) continue
      const { election } = JSON.parse(line) as { election: number }
      const known = winners.get(election) ?? new Set()
      winners.set(election, known.add(broker.address('remoting')))
    }
  }
  return winners
}

const keyOf = (body: string, by: string): string => `${by} ${body}`

/** Kills the brokers. Nothing is under way, and all copies are in sync. */
export async function assertHistory(
  t: ExecutionContext,
  { brokers }: ElectedBrokers,
  loads: readonly Load[],
  topic: string,
): Promise<void> {
  await Promise.all(brokers.map((broker) => broker.kill()))
  const logs: (readonly Stored[])[] = []
  for (const { dataDir } of brokers) logs.push(await storedIn(dataDir, topic))
  const texts = logs.map((log) => log.map((stored) => JSON.stringify(stored)))
  const [first, ...others] = texts as [string[], ...string[][]]
  for (const other of others) {
    const length = Math.max(first.length, other.length)
    const parting = Array.from({ length }).findIndex((_, i) => first[i] !== other[i])
    t.is(parting, -1, `${first[parting]} in one copy is ${other[parting]} in another`)
  }
  const winners = winnersOf(brokers)
  for (const [election, won] of winners) t.is(won.size, 1, `election ${election} was won twice`)
  const there = new Set(logs[0]!.map(({ body, by }) => keyOf(body, by)))
  for (const { election, by, body } of logs[0]!) {
    if (winners.get(election)?.has(by) !== true) t.fail(`${by} wrote ${body} in ${election}`)
  }
  const acknowledged = loads.flatMap((load) => load.acknowledged)
  const lost = acknowledged.filter(({ body, by }) => !there.has(keyOf(body, by)))
  t.deepEqual(lost, [])
  t.log(`${acknowledged.length} acknowledged, ${logs[0]!.length} stored, ${winners.size} elections`)
}
