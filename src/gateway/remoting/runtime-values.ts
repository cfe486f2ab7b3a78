// The runtime values of a broker (GET_BROKER_RUNTIME_INFO) by RocketMQ's names, as mqadmin, the
// dashboard and rocketmq-exporter parse them, and behind them the numbers by their own names.
import type { BrokerStatus, Rate, ReplicationStatus } from '../../model/status.ts'
import { SECONDS_BOUNDS } from '../../numbers/declared.ts'
import { Histogram } from '../../numbers/histogram.ts'
import type { Reading } from '../../numbers/numbers.ts'
import { numbersTable } from '../../numbers/text.ts'
import { VERSION } from '../../remoting/codes.ts'

const VERSION_NAME = 'V5_3_3'

/** What is not counted, or does not exist here, is 0. */
export function runtimeValues(
  status: BrokerStatus,
  readings: readonly Reading[],
  nowMs: number,
  replication?: ReplicationStatus,
): Record<string, string> {
  const put = together(readings, 'trivet_publish_seconds')
  const maxMs = Math.round(put.max * 1000)
  const free = sumOf(readings, 'trivet_store_disk_free_bytes')
  const total = sumOf(readings, 'trivet_store_disk_bytes')
  const diskRatio = total === 0 ? '0.0' : String(Number((1 - free / total).toFixed(4)))
  return {
    bootTimestamp: String(status.startedAtMs),
    runtime: runtimeText(nowMs - status.startedAtMs),
    brokerVersionDesc: VERSION_NAME,
    brokerVersion: String(VERSION.v5_3_3),
    brokerActive: String(status.writable),
    ...traffic(status),
    putMessageFailedTimes: String(sumOf(readings, 'trivet_messages_refused_total')),
    putMessageDistributeTime: distribution(put),
    putMessageEntireTimeMax: String(maxMs),
    putLatency99: (put.quantile(0.99) * 1000).toFixed(2),
    putLatency999: (put.quantile(0.999) * 1000).toFixed(2),
    commitLogMinOffset: String(status.logStart),
    commitLogMaxOffset: String(status.logEnd),
    commitLogDiskRatio: diskRatio,
    consumeQueueDiskRatio: diskRatio,
    commitLogDirCapacity: `Total : ${bytesText(total)}, Free : ${bytesText(free)}.`,
    dispatchBehindBytes: '0',
    dispatchMaxBuffer: '0',
    pageCacheLockTimeMills: '0',
    earliestMessageTimeStamp: String(status.startedAtMs),
    startAcceptSendRequestTimeStamp: '0',
    getMessageEntireTimeMax: '0',
    remainTransientStoreBufferNumbs: '0',
    remainHowManyDataToFlush: '0 B',
    ...threadPools(),
    // Ours: no tool of RocketMQ looks for these.
    flushDiskType: status.flush === 'sync' ? 'SYNC_FLUSH' : 'ASYNC_FLUSH',
    readOnlyReason: status.reason ?? '',
    topics: String(status.topics),
    groups: String(status.groups),
    clients: String(status.clients),
    pendingDelayed: String(status.pendingDelayed),
    ...(replication !== undefined && copies(replication)),
    ...numbersTable(readings),
  }
}

/** Of a master each slave, of a slave its master. */
function copies({ epoch, syncedEnd, ...rest }: ReplicationStatus): Record<string, string> {
  const { isMaster, inSync, replicas, master } = rest
  const table: Record<string, string> = { replicationEpoch: String(epoch) }
  if (isMaster) table['replicationInSync'] = String(inSync)
  for (const { brokerId, address, confirmedTo, isInSync } of replicas) {
    const state = isInSync ? 'in sync' : 'not in sync'
    const behind = syncedEnd - confirmedTo
    table[`replicationSlave${brokerId}`] = `${address}, ${state}, ${behind} bytes behind`
  }
  if (master === undefined) return table
  const { address, isConnected, end = syncedEnd, standing } = master
  const state = standing ?? (isConnected ? 'connected' : 'not connected')
  const behind = Math.max(0, end - syncedEnd)
  return { ...table, replicationMaster: `${address}, ${state}, ${behind} bytes behind` }
}

/** Messages and requests: counts, and rates over 10 s, 1 min and 10 min. */
function traffic({ messagesIn, messagesOut, logEnd, rates }: BrokerStatus): Record<string, string> {
  const { stored, read, readsFound, readsEmpty } = rates
  const gets = readsFound.perSecond.map((found, at) => found + readsEmpty.perSecond[at]!)
  const transferred = rateText(read.perSecond)
  return {
    putTps: rateText(stored.perSecond),
    getFoundTps: rateText(readsFound.perSecond),
    getMissTps: rateText(readsEmpty.perSecond),
    getTotalTps: rateText(gets),
    getTransferredTps: transferred,
    // As RocketMQ before 5.0 spells it.
    getTransferedTps: transferred,
    ...days('msgPut', messagesIn, stored),
    ...days('msgGet', messagesOut, read),
    putMessageTimesTotal: String(messagesIn),
    putMessageSizeTotal: String(logEnd),
    putMessageAverageSize: String(messagesIn === 0 ? 0 : Math.round(logEnd / messagesIn)),
  }
}

const days = (
  name: string,
  now: number,
  { thisMorning, yesterdayMorning }: Rate,
): Record<string, string> => ({
  [`${name}TotalYesterdayMorning`]: String(yesterdayMorning),
  [`${name}TotalTodayMorning`]: String(thisMorning),
  [`${name}TotalTodayNow`]: String(now),
})

const rateText = (perSecond: readonly number[]): string =>
  perSecond.map((rate) => rate.toFixed(2)).join(' ')

/** There are none: one thread serves all. */
function threadPools(): Record<string, string> {
  const table: Record<string, string> = {}
  for (const [name, capacity] of [
    ['send', 10_000],
    ['pull', 100_000],
    ['query', 20_000],
    ['litePull', 100_000],
    ['ack', 100_000],
  ] as const) {
    table[`${name}ThreadPoolQueueSize`] = '0'
    table[`${name}ThreadPoolQueueCapacity`] = String(capacity)
    table[`${name}ThreadPoolQueueHeadWaitTimeMills`] = '0'
  }
  return {
    ...table,
    EndTransactionQueueSize: '0',
    EndTransactionThreadPoolQueueCapacity: '100000',
  }
}

/** One histogram for all protocols. */
function together(readings: readonly Reading[], name: string): Histogram {
  const all = new Histogram(SECONDS_BOUNDS)
  for (const { declared, value } of readings) {
    if (declared.name === name && value instanceof Histogram) all.add(value)
  }
  return all
}

function sumOf(readings: readonly Reading[], name: string): number {
  let sum = 0
  for (const { declared, value } of readings) {
    if (declared.name === name && typeof value === 'number') sum += value
  }
  return sum
}

/** RocketMQ counts whole milliseconds, so that less than one is its 0. */
const STEPS: readonly (readonly [label: string, upToSeconds: number])[] = [
  ['<=0ms', 0.001],
  ['0~10ms', 0.01],
  ['10~50ms', 0.05],
  ['50~100ms', 0.1],
  ['100~200ms', 0.2],
  ['200~500ms', 0.5],
  ['500ms~1s', 1],
  ['1~2s', 2],
  ['2~3s', 3],
  ['3~4s', 4],
  ['4~5s', 5],
  ['5~10s', 10],
  ['10s~', Number.POSITIVE_INFINITY],
]

function distribution(put: Histogram): string {
  let before = 0
  const parts = STEPS.map(([label, upTo]) => {
    const count = upTo === Number.POSITIVE_INFINITY ? put.count : put.upTo(upTo)
    const text = `[${label}]:${count - before}`
    before = count
    return text
  })
  return parts.join(' ')
}

function runtimeText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24]
  return `[ ${days} days, ${hours} hours, ${Math.floor(seconds / 60) % 60} minutes, ${seconds % 60} seconds ]`
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** '12.3 GiB' */
function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0]
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}
