// The broker's own settings and state, in the words that mqadmin and the dashboard parse.
import { formatHost } from '../../../model/host.ts'
import type { BrokerStatus } from '../../../model/status.ts'
import { REQUEST, VERSION } from '../../../remoting/codes.ts'
import { emitJson } from '../../../remoting/json/json-emitter.ts'
import { encodeTable } from '../../../remoting/requests/key-values.ts'
import { dataVersionOut } from '../../../remoting/requests/topics.ts'
import { isAllowed } from '../../access/auth.ts'
import { CLUSTER } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, type RequestTable } from '../call.ts'
import { tableVersion } from '../table-version.ts'

export const brokerRequests: RequestTable = new Map([
  [REQUEST.getBrokerConfig, brokerConfig],
  [REQUEST.getBrokerRuntimeInfo, runtimeInfo],
])

const VERSION_NAME = 'V5_3_3'

/**
 * Any user may read the broker's identity: routes tell it too, and a client without a name server
 * asks here.
 */
async function brokerConfig(call: Call): Promise<Answer> {
  const { broker, clock, auth } = call.context
  const { brokerName, clusterName, brokerId } = broker.identity
  const identity = { brokerClusterName: clusterName, brokerName, brokerId }
  if (!isAllowed(auth, call.principal, 'manage', CLUSTER)) return settingsAnswer(identity)
  const status = await broker.status()
  const version = emitJson(dataVersionOut(tableVersion(status, clock.now())))
  return {
    ...settingsAnswer({
      ...identity,
      brokerIP1: formatHost(broker.identity.storeHost).split(':')[0],
      flushDiskType: status.flush === 'sync' ? 'SYNC_FLUSH' : 'ASYNC_FLUSH',
      brokerRole: brokerId === 0 ? 'ASYNC_MASTER' : 'SLAVE',
    }),
    fields: new Map([['version', version]]),
  }
}

const settingsAnswer = (settings: Readonly<Record<string, unknown>>): Answer =>
  answerBody(
    Buffer.from(
      Object.entries(settings)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    ),
  )

async function runtimeInfo(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  return answerBody(
    encodeTable(new Map(Object.entries(runtimeTable(await broker.status(), clock.now())))),
  )
}

/** Values that we do not count per time span are the counts since the start, or 0. */
function runtimeTable(status: BrokerStatus, nowMs: number): Record<string, string> {
  const seconds = Math.max(1, (nowMs - status.startedAtMs) / 1000)
  const rate = (count: number): string => {
    const perSecond = (count / seconds).toFixed(2)
    return `${perSecond} ${perSecond} ${perSecond}`
  }
  const days = Math.floor(seconds / 86_400)
  return {
    bootTimestamp: String(status.startedAtMs),
    runtime: `[ ${days} days, ${Math.floor((seconds / 3600) % 24)} hours, ${Math.floor((seconds / 60) % 60)} minutes, ${Math.floor(seconds % 60)} seconds ]`,
    brokerVersionDesc: VERSION_NAME,
    brokerVersion: String(VERSION.v5_3_3),
    brokerActive: String(status.writable),
    putMessageTimesTotal: String(status.messagesIn),
    putMessageFailedTimes: '0',
    putTps: rate(status.messagesIn),
    getFoundTps: rate(status.messagesOut),
    getMissTps: rate(0),
    getTotalTps: rate(status.messagesOut),
    getTransferredTps: rate(status.messagesOut),
    msgPutTotalYesterdayMorning: '0',
    msgPutTotalTodayMorning: '0',
    msgPutTotalTodayNow: String(status.messagesIn),
    msgGetTotalYesterdayMorning: '0',
    msgGetTotalTodayMorning: '0',
    msgGetTotalTodayNow: String(status.messagesOut),
    commitLogMinOffset: String(status.logStart),
    commitLogMaxOffset: String(status.logEnd),
    commitLogDiskRatio: '0.0',
    consumeQueueDiskRatio: '0.0',
    commitLogDirCapacity: `Total : unknown, Used : ${status.diskBytes} B.`,
    dispatchBehindBytes: '0',
    dispatchMaxBuffer: '0',
    pageCacheLockTimeMills: '0',
    earliestMessageTimeStamp: String(status.startedAtMs),
    startAcceptSendRequestTimeStamp: '0',
    putMessageEntireTimeMax: '0',
    getMessageEntireTimeMax: '0',
    putMessageSizeTotal: String(status.logEnd),
    putMessageAverageSize: String(
      status.messagesIn === 0 ? 0 : Math.round(status.logEnd / status.messagesIn),
    ),
    remainTransientStoreBufferNumbs: '0',
    remainHowManyDataToFlush: '0 B',
    sendThreadPoolQueueSize: '0',
    sendThreadPoolQueueCapacity: '10000',
    sendThreadPoolQueueHeadWaitTimeMills: '0',
    pullThreadPoolQueueSize: '0',
    pullThreadPoolQueueCapacity: '100000',
    pullThreadPoolQueueHeadWaitTimeMills: '0',
    queryThreadPoolQueueSize: '0',
    queryThreadPoolQueueCapacity: '20000',
    queryThreadPoolQueueHeadWaitTimeMills: '0',
    EndTransactionQueueSize: '0',
    EndTransactionThreadPoolQueueCapacity: '100000',
    // Ours: no tool of RocketMQ looks for these.
    flushDiskType: status.flush === 'sync' ? 'SYNC_FLUSH' : 'ASYNC_FLUSH',
    readOnlyReason: status.reason ?? '',
    topics: String(status.topics),
    groups: String(status.groups),
    clients: String(status.clients),
    pendingDelayed: String(status.pendingDelayed),
  }
}
