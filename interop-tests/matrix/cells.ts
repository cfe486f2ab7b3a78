// The tests of the matrix: one per producer, consumer and mode, over what one run of traffic brought.
import { isDeepStrictEqual } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { type Arrival, CLIENTS, type ClientName, expectedReport, sampleOf } from './sample.ts'
import { expectedIds, MODES, type Mode, runTraffic, type Traffic } from './traffic.ts'

export interface CellOptions {
  /** How often the broker gets a kill -9 while messages flow: repeats are allowed then. */
  readonly kills: number
}

/** Until a busy machine has the broker up and most of its clients back. */
const KILL_MS_MAX = 10_000

export function matrixTests({ kills }: CellOptions): void {
  const crash = kills > 0
  let traffic: Traffic
  const endings: (() => unknown)[] = []
  test.before(async (t) => {
    t.timeout(400_000 + kills * KILL_MS_MAX)
    const server = await spawnServer({ teardown: (end: () => unknown) => void endings.push(end) })
    const interrupt = async (): Promise<void> => {
      await server.kill()
      await server.start()
    }
    traffic = await runTraffic(server, { interruptions: kills, interrupt })
  })
  test.after.always(async () => {
    await traffic?.stop()
    for (const end of endings.toReversed()) await end()
  })
  for (const consumer of CLIENTS) {
    for (const mode of MODES) {
      for (const producer of CLIENTS) {
        const title = `${producer} to ${consumer} in ${mode === 'group' ? 'a group' : 'broadcast'}`
        test(crash ? `${title}, across kill -9` : title, (t) => {
          const members = traffic.received(consumer, mode).map((reports) => from(reports, producer))
          checkIds(t, members.flat(), producer, crash)
          checkContents(t, members.flat(), consumer)
          for (const own of inOrder(members, consumer, mode, crash)) checkOrder(t, own)
        })
      }
    }
  }
  test('nobody received a message that nobody sent', (t) => {
    const known = new Set(CLIENTS.flatMap(expectedIds))
    for (const consumer of CLIENTS) {
      for (const mode of MODES) {
        const all = traffic.received(consumer, mode).flat()
        const invented = all.filter(({ id }) => !known.has(id)).map(({ id }) => id)
        t.deepEqual(invented, [], `${consumer} ${mode}`)
      }
    }
  })
  test('both members of every group had a part of the messages', (t) => {
    for (const consumer of CLIENTS) {
      const parts = traffic.received(consumer, 'group').map((reports) => reports.length)
      t.true(
        parts.every((part) => part > 0),
        `${consumer}: ${parts.join(' and ')}`,
      )
    }
  })
}

const from = (reports: readonly Arrival[], producer: ClientName): readonly Arrival[] =>
  reports.filter(({ id }) => sampleOf(id).producer === producer)

/** None lost; in a calm run none twice. */
function checkIds(
  t: ExecutionContext,
  reports: readonly Arrival[],
  producer: ClientName,
  crash: boolean,
): void {
  const ids = reports.map(({ id }) => id)
  const got = new Set(ids)
  const lost = expectedIds(producer).filter((id) => !got.has(id))
  t.deepEqual(lost.slice(0, 10), [], `${lost.length} are lost`)
  const repeats = ids.length - got.size
  if (!crash) t.is(repeats, 0, 'some came twice')
}

function checkContents(
  t: ExecutionContext,
  reports: readonly Arrival[],
  consumer: ClientName,
): void {
  for (const report of reports) {
    const due = expectedReport(sampleOf(report.id), consumer)
    const { tag, orderingKey, atUs: _, ...rest } = report
    // One message of many says enough.
    if (!isDeepStrictEqual({ ...rest, tag, orderingKey }, due)) {
      t.deepEqual({ ...rest, tag, orderingKey }, due)
      return
    }
  }
  t.pass()
}

/**
 * What came in order: to each member in a calm run. In a crash queues change hands, and whoever takes one over
 * may begin where it had been before: there the group as a whole sees a key in order, repeats aside. What the
 * broker hands out message by message may change hands alone.
 */
function inOrder(
  members: readonly (readonly Arrival[])[],
  consumer: ClientName,
  mode: Mode,
  crash: boolean,
): readonly (readonly Arrival[])[] {
  if (!crash || mode === 'broadcast') return members
  const sharesQueues = consumer === 'sdk' || consumer === 'ali-ons'
  return sharesQueues ? [members.flat().toSorted((a, b) => a.atUs - b.atUs)] : []
}

/** The first time each message of a key came is after the first time of every earlier one. */
function checkOrder(t: ExecutionContext, reports: readonly Arrival[]): void {
  const newest = new Map<number, number>()
  const seen = new Set<string>()
  for (const { id } of reports) {
    if (seen.has(id)) continue
    seen.add(id)
    const { lane, n } = sampleOf(id)
    const before = newest.get(lane) ?? -1
    if (n < before) {
      t.fail(`key ${lane}: ${n} came after ${before}`)
      return
    }
    newest.set(lane, n)
  }
  t.pass()
}
