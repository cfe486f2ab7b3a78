// The tests of the matrix: one per producer, consumer and mode, over what one run of traffic brought.
import { isDeepStrictEqual } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { CLIENTS, type ClientName, expectedReport, type Report, sampleOf } from './sample.ts'
import { expectedIds, MODES, type Mode, runTraffic, type Traffic } from './traffic.ts'

export interface CellOptions {
  /** How often the broker gets a kill -9 while messages flow: repeats are allowed then. */
  readonly kills: number
}

export function matrixTests({ kills }: CellOptions): void {
  const crash = kills > 0
  let traffic: Traffic
  const endings: (() => unknown)[] = []
  test.before(async (t) => {
    t.timeout(400_000)
    const server = await spawnServer({ teardown: (end: () => unknown) => void endings.push(end) })
    const interrupt = async (): Promise<void> => {
      await server.kill()
      await server.start()
    }
    traffic = await runTraffic(server, { interruptions: kills, interrupt })
  })
  test.after.always(async () => {
    await traffic?.stop()
    for (const end of endings) await end()
  })
  for (const consumer of CLIENTS) {
    for (const mode of MODES) {
      for (const producer of CLIENTS) {
        const title = `${producer} to ${consumer} in ${mode === 'group' ? 'a group' : 'broadcast'}`
        test(crash ? `${title}, across kill -9` : title, (t) => {
          const members = traffic.received(consumer, mode).map((reports) => from(reports, producer))
          checkIds(t, members.flat(), producer, crash)
          checkContents(t, members.flat(), consumer)
          if (isOrdered(consumer, mode, crash)) for (const own of members) checkOrder(t, own)
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

const from = (reports: readonly Report[], producer: ClientName): readonly Report[] =>
  reports.filter(({ id }) => sampleOf(id).producer === producer)

/** None lost; in a calm run none twice. */
function checkIds(
  t: ExecutionContext,
  reports: readonly Report[],
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
  reports: readonly Report[],
  consumer: ClientName,
): void {
  for (const report of reports) {
    const due = expectedReport(sampleOf(report.id), consumer)
    const { tag, orderingKey, ...rest } = report
    // One message of many says enough.
    if (!isDeepStrictEqual({ ...rest, tag, orderingKey }, due)) {
      t.deepEqual({ ...rest, tag, orderingKey }, due)
      return
    }
  }
  t.pass()
}

/**
 * Messages that the broker hands out one by one may change hands in a crash: what one member had not seen
 * yet goes to the other.
 */
const isOrdered = (consumer: ClientName, mode: Mode, crash: boolean): boolean =>
  !crash || mode === 'broadcast' || consumer === 'sdk' || consumer === 'ali-ons'

/** The first time each message of a key came is after the first time of every earlier one. */
function checkOrder(t: ExecutionContext, reports: readonly Report[]): void {
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
