// The broker's own settings and state, in the words that mqadmin and the dashboard parse.

import { isAllowed } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import { formatHost } from '../../../model/host.ts'
import type { BrokerIdentity, BrokerStatus } from '../../../model/status.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { emitJson } from '../../../remoting/json/json-emitter.ts'
import { decodeProperties, encodeTable } from '../../../remoting/requests/key-values.ts'
import { DATA_VERSION } from '../../../remoting/requests/topics.ts'
import { CLUSTER } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, DONE, type RequestTable } from '../call.ts'
import { runtimeValues } from '../runtime-values.ts'
import { tableVersion } from '../table-version.ts'

export const brokerRequests: RequestTable = new Map([
  [REQUEST.getBrokerConfig, brokerConfig],
  [REQUEST.updateBrokerConfig, updateConfig],
  [REQUEST.getBrokerRuntimeInfo, runtimeInfo],
])

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
  const settings = settingsOf(broker.identity, status, await broker.permission.get())
  const version = emitJson(DATA_VERSION.out(tableVersion(status, clock.now())))
  return { ...settingsAnswer(settings), fields: new Map([['version', version]]) }
}

const PERMISSION = 'brokerPermission'

type ShownConfig = Readonly<Record<string, string | number | boolean>>

/** By RocketMQ's names. */
const settingsOf = (
  { brokerName, clusterName, brokerId, storeHost }: BrokerIdentity,
  { flush, settings }: BrokerStatus,
  permission: number,
): ShownConfig => ({
  brokerClusterName: clusterName,
  brokerName,
  brokerId,
  brokerIP1: formatHost(storeHost).split(':')[0]!,
  flushDiskType: flush === 'sync' ? 'SYNC_FLUSH' : 'ASYNC_FLUSH',
  brokerRole: brokerId === 0 ? 'ASYNC_MASTER' : 'SLAVE',
  brokerPermission: permission,
  autoCreateTopicEnable: settings.autoCreateTopics,
  autoCreateSubscriptionGroup: settings.autoCreateGroups,
  defaultTopicQueueNums: settings.queuesDefault,
  maxMessageSize: settings.bodyBytesMax,
  timerMaxDelaySec: Math.floor(settings.delayMsMax / 1000),
  enablePropertyFilter: true,
})

/**
 * A setting is in the configuration, where the next start finds it as well: what it is already may
 * be said again, and nothing else. But for the permission, by which a broker is drained.
 */
async function updateConfig(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker } = call.context
  const { permission } = broker
  const settings = settingsOf(broker.identity, await broker.status(), await permission.get())
  const wanted = new Map(decodeProperties(call.body))
  const perm = wanted.get(PERMISSION)
  wanted.delete(PERMISSION)
  for (const [name, value] of wanted) checkUnchanged(settings, name, value)
  if (perm !== undefined) await permission.set(Number(perm))
  return DONE
}

/** @throws BrokerError ARGUMENT_INVALID */
function checkUnchanged(settings: ShownConfig, name: string, value: string): void {
  const current = settings[name]
  if (current !== undefined && String(current) === value) return
  const text = name.slice(0, 80)
  throw new BrokerError(
    'ARGUMENT_INVALID',
    current === undefined
      ? `this broker has no setting '${text}' that mqadmin could change; see 'trivet config'`
      : `'${text}' is ${current}; change it in the configuration and start the broker anew`,
  )
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
  const { broker, clock, numbers, replication } = call.context
  const [status, readings] = [await broker.status(), await numbers.read()]
  const values = runtimeValues(status, readings, clock.now(), replication?.status())
  return answerBody(encodeTable(new Map(Object.entries(values))))
}
