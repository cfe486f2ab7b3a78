// The broker's own settings and state, in the words that mqadmin and the dashboard parse.
import { formatHost } from '../../../model/host.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { emitJson } from '../../../remoting/json/json-emitter.ts'
import { encodeTable } from '../../../remoting/requests/key-values.ts'
import { dataVersionOut } from '../../../remoting/requests/topics.ts'
import { isAllowed } from '../../access/auth.ts'
import { CLUSTER } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, type RequestTable } from '../call.ts'
import { runtimeValues } from '../runtime-values.ts'
import { tableVersion } from '../table-version.ts'

export const brokerRequests: RequestTable = new Map([
  [REQUEST.getBrokerConfig, brokerConfig],
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
  const { broker, clock, numbers } = call.context
  const values = runtimeValues(await broker.status(), await numbers.read(), clock.now())
  return answerBody(encodeTable(new Map(Object.entries(values))))
}
