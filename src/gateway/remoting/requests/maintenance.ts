// What operators ask of Apache's broker to look after its files, its slaves and its engines. Where
// this broker is as asked already the answer is success; where it can never be, a sentence says so.
import { BrokerError } from '../../../errors.ts'
import type { BrokerStatus } from '../../../model/status.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { jsonBody } from '../../../remoting/json/json-emitter.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import { PROMOTE, PROMOTE_ANSWER } from '../../../remoting/requests/promotion.ts'
import { CLUSTER } from '../address.ts'
import {
  type Answer,
  answerBody,
  answerFields,
  authorize,
  type Call,
  DONE,
  type RequestTable,
  type Serve,
} from '../call.ts'

export const maintenanceRequests: RequestTable = new Map<number, Serve>([
  // Queues end with their records, and what belongs to a deleted topic goes with it.
  [REQUEST.cleanExpiredQueues, asAdmin(() => DONE)],
  [REQUEST.cleanUnusedTopics, asAdmin(() => DONE)],
  // Segments go as soon as they are old enough, at any hour.
  [REQUEST.deleteExpiredLog, asAdmin(() => DONE)],
  [REQUEST.getHaStatus, asAdmin(haStatus)],
  [REQUEST.promoteBroker, asAdmin(promote)],
  // Of slaves alone: a master of Apache's answers success as well.
  [REQUEST.resetMasterFlushOffset, asAdmin(() => DONE)],
  [REQUEST.getBrokerEpoch, asAdmin(() => failure('this request only for controllerMode'))],
  [REQUEST.getColdDataFlow, asAdmin(() => answerBody(jsonBody(NO_COLD_DATA_FLOW)))],
  // There is no group with a limit of its own.
  [REQUEST.removeColdDataFlow, asAdmin(() => DONE)],
  [REQUEST.setReadAheadMode, asAdmin(readAheadMode)],
  [REQUEST.checkQueueWrites, asAdmin(() => answerBody(jsonBody(QUEUES_ARE_WRITTEN)))],
  [REQUEST.switchTimerEngine, asAdmin(timerEngine)],
  // Receipts are kept in one way.
  [REQUEST.exportPopRecords, asAdmin(() => DONE)],
  [REQUEST.getLiteInfo, asAdmin(liteInfo)],
  ...refused([
    [REQUEST.updateColdDataFlow, 'reads of old messages are not slowed down by group'],
    [
      REQUEST.updateStaticTopic,
      'a topic has the queues of its brokers; there are no static topics',
    ],
    [REQUEST.updateGroupForbidden, "a group is kept from a topic by its users' grants"],
    [REQUEST.getAllDelayOffset, 'delayed messages are in no topic of their own, and no slave asks'],
    [REQUEST.getTimerCheckPoint, 'delayed messages are in no file of their own, and no slave asks'],
  ]),
])

function asAdmin(serve: Serve): Serve {
  return (call) => {
    authorize(call, 'manage', CLUSTER)
    return serve(call)
  }
}

function refused(sentences: readonly (readonly [number, string])[]): [number, Serve][] {
  return sentences.map(([code, sentence]) => [code, asAdmin(() => failure(sentence))])
}

const failure = (remark: string): Answer => ({ code: RESPONSE.systemError, remark })

/** HARuntimeInfo of Java. */
async function haStatus(call: Call): Promise<Answer> {
  const { broker, replication } = call.context
  const { logEnd } = await broker.status()
  const status = replication?.status()
  const { replicas = [], inSync = 1, syncedEnd = logEnd, master } = status ?? {}
  const body = {
    haClientRuntimeInfo: {
      activated: master?.isConnected === true,
      lastReadTimestamp: 0,
      lastWriteTimestamp: 0,
      masterFlushOffset: master?.end ?? 0,
      maxOffset: master === undefined ? 0 : syncedEnd,
      transferredByteInSecond: 0,
    },
    haConnectionInfo: replicas.map(({ address, confirmedTo, isInSync }) => ({
      addr: address,
      diff: syncedEnd - confirmedTo,
      inSync: isInSync,
      slaveAckOffset: confirmedTo,
      transferFromWhere: confirmedTo,
      transferredByteInSecond: 0,
    })),
    inSyncSlaveNums: inSync - 1,
    master: broker.identity.brokerId === 0,
    masterCommitLogMaxOffset: master?.end ?? logEnd,
  }
  return answerBody(jsonBody(body))
}

async function promote(call: Call): Promise<Answer> {
  const { replication, log } = call.context
  if (replication === undefined) throw new BrokerError('NOT_SUPPORTED', 'this broker is no slave')
  const { force } = readFields(PROMOTE, call.fields)
  const fields = { evt: 'replication.promotion', user: call.principal.name, force }
  log.warn(fields, 'an operator asks for this slave to be the master')
  const epoch = await replication.promote(force)
  return answerFields(writeFields(PROMOTE_ANSWER, { epoch }))
}

/** Apache's default limits, which no group meets here. */
const NO_COLD_DATA_FLOW = {
  cgColdReadThreshold: 3 * 1024 * 1024,
  configTable: {},
  globalAcc: 0,
  globalColdReadThreshold: 100 * 1024 * 1024,
  runtimeTable: {},
}

/** CheckStatus of Java: a queue cannot be behind its log here. */
const QUEUES_ARE_WRITTEN = { checkResult: 'queues are written with their log', checkStatus: 0 }

const READ_AHEAD = 'READ_AHEAD_MODE'

/** The system reads ahead as it sees fit. */
function readAheadMode(call: Call): Answer {
  const mode = call.fields.get(READ_AHEAD)
  if (mode === '0') return { remark: `set commitlog readahead mode success, mode: ${mode}` }
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `the log is read ahead as the system sees fit, mode 0; '${String(mode).slice(0, 40)}' is not possible`,
  )
}

const TIMER_ENGINE = 'E_T'

/** By Apache's names: F for files, R for RocksDB. */
function timerEngine(call: Call): Answer {
  const engine = call.fields.get(TIMER_ENGINE) ?? ''
  if (engine === 'F') return { remark: 'switch timer engine success' }
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `delayed messages are kept by the store alone, named 'F' here; there is no engine '${engine.slice(0, 40)}'`,
  )
}

/** There are no lite topics. */
async function liteInfo(call: Call): Promise<Answer> {
  const status: BrokerStatus = await call.context.broker.status()
  const body = {
    cqTableSize: status.topics,
    currentLmqNum: 0,
    eventMapSize: 0,
    groupMeta: {},
    liteSubscriptionCount: 0,
    maxLmqNum: 0,
    offsetTableSize: status.groups,
    orderInfoCount: 0,
    storeType: 'default',
    topicMeta: {},
  }
  return answerBody(jsonBody(body))
}
