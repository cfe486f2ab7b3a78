// The requests of the name server: registrations of brokers, routes for clients, key-values for
// mqadmin.
import { type Clock, Slice } from '../clock.ts'
import { BrokerError, type ErrorCode } from '../errors.ts'
import { crc32 } from '../model/crc32.ts'
import { checkTopicName } from '../model/names.ts'
import { REQUEST, RESPONSE } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import { jsonBody } from '../remoting/json/json-emitter.ts'
import { parseObject } from '../remoting/json/json-members.ts'
import { readFields, writeFields } from '../remoting/layout.ts'
import {
  decodeProperties,
  encodeTable,
  KEY,
  NAMESPACE,
  ORDER_TOPIC_CONFIG,
  PUT_KEY_VALUE,
  VALUE,
} from '../remoting/requests/key-values.ts'
import { ADDED, BROKER_NAME, WIPED } from '../remoting/requests/permissions.ts'
import {
  BROKER,
  decodeRegistration,
  QUERY_DATA_VERSION_RESPONSE,
  REGISTER_BROKER,
  REGISTER_BROKER_RESPONSE,
} from '../remoting/requests/registration.ts'
import {
  decodeRoute,
  encodeClusterInfo,
  encodeRoute,
  encodeTopicList,
  GET_ROUTE,
  GET_TOPICS_BY_CLUSTER,
} from '../remoting/requests/route.ts'
import { DATA_VERSION, DELETE_TOPIC_ROUTE, TOPIC } from '../remoting/requests/topics.ts'
import type { Answer } from '../remoting/serving/connection.ts'
import type { FirstUse } from './first-use.ts'
import type { KeyValues } from './key-values.ts'
import type { Registrations } from './registrations.ts'
import type { RouteTable } from './route-table.ts'

export interface NameServerCall {
  /** Its body is the call's to keep where it registers a broker. */
  readonly command: Command
  readonly routes: RouteTable
  readonly values: KeyValues
  readonly clock: Clock
  /** The caller's, and its identity. */
  readonly connection: { readonly isClosed: boolean }
  /** One after the other, as each may be large. @throws BrokerError BUSY */
  readonly registrations: Registrations
  readonly firstUse: FirstUse
  /** An address as this caller can reach it. */
  readonly reachable: (address: string) => string
  /** A broker came or went: worth a line of the log. */
  readonly announce: (evt: string, address: string) => void
}

type Serve = (call: NameServerCall) => Answer | Promise<Answer>

/** Silence after which a broker counts as gone, unless it says otherwise. */
const EXPIRY_MS_DEFAULT = 120_000

export const nameServerRequests: ReadonlyMap<number, Serve> = new Map<number, Serve>([
  [REQUEST.registerBroker, registerBroker],
  [REQUEST.unregisterBroker, unregisterBroker],
  [REQUEST.queryDataVersion, queryDataVersion],
  [REQUEST.getRoute, getRoute],
  [REQUEST.getClusterInfo, clusterInfo],
  [REQUEST.getAllTopics, allTopics],
  [REQUEST.getTopicsByCluster, topicsByCluster],
  [REQUEST.getNameServerSystemTopics, systemTopics],
  [REQUEST.deleteTopicInNameServer, deleteTopic],
  [REQUEST.registerTopicInNameServer, registerTopic],
  [REQUEST.wipeWritePerm, (call) => setWritable(call, false)],
  [REQUEST.addWritePerm, (call) => setWritable(call, true)],
  [REQUEST.putKvConfig, putValue],
  [REQUEST.getKvConfig, getValue],
  [REQUEST.deleteKvConfig, deleteValue],
  [REQUEST.getKvList, listValues],
  [REQUEST.getNameServerConfig, configuration],
  [REQUEST.updateNameServerConfig, updateConfiguration],
])

/** The table is read in slices; then everything in it holds at once. */
async function registerBroker(call: NameServerCall): Promise<Answer> {
  const { command, routes, values, clock, connection } = call
  const registration = readFields(REGISTER_BROKER, command.fields)
  const { bodyCrc32 = 0 } = registration
  if (bodyCrc32 !== 0 && (crc32(command.body) & 0x7fffffff) !== bodyCrc32) {
    return { code: RESPONSE.systemError, remark: 'crc32 not match' }
  }
  const { body } = command
  return call.registrations.run(body.length, async () => {
    const table = await decodeRegistration(body, new Slice(clock))
    await routes.settled()
    // With its connection the broker has gone, or has come back on another.
    if (connection.isClosed) return {}
    const isNew = routes.register({
      clusterName: registration.clusterName,
      brokerName: registration.brokerName,
      brokerId: registration.brokerId,
      address: registration.brokerAddr,
      haAddress: registration.haServerAddr,
      expiryMs: registration.heartbeatTimeoutMillis ?? EXPIRY_MS_DEFAULT,
      connection,
      table,
      nowMs: clock.monotonic(),
    })
    if (isNew) call.announce('namesrv.broker_registered', registration.brokerAddr)
    const master = registration.brokerId === 0 ? undefined : routes.master(registration.brokerName)
    const fields = writeFields(REGISTER_BROKER_RESPONSE, {
      masterAddr: master?.address,
      haServerAddr: master?.haAddress,
    })
    await routes.settled()
    const order = values.list(ORDER_TOPIC_CONFIG)
    return order === undefined ? { fields } : { fields, body: encodeTable(order) }
  })
}

function unregisterBroker(call: NameServerCall): Answer {
  const { brokerAddr } = readFields(BROKER, call.command.fields)
  if (call.routes.unregister(brokerAddr)) call.announce('namesrv.broker_unregistered', brokerAddr)
  return {}
}

/** Also a sign of life. */
function queryDataVersion(call: NameServerCall): Answer {
  const { brokerAddr } = readFields(BROKER, call.command.fields)
  const asked = DATA_VERSION.of(parseObject(call.command.body))
  const known = call.routes.refresh(brokerAddr, call.connection, call.clock.monotonic())
  const changed =
    known === undefined ||
    known.counter !== asked.counter ||
    known.stateVersion !== asked.stateVersion ||
    known.timestamp !== asked.timestamp
  const fields = writeFields(QUERY_DATA_VERSION_RESPONSE, { changed })
  return known === undefined ? { fields } : { fields, body: jsonBody(DATA_VERSION.out(known)) }
}

function getRoute(call: NameServerCall): Answer {
  const { command, routes, firstUse } = call
  const { topic } = readFields(GET_ROUTE, command.fields)
  checkTopicName(topic)
  const known = routes.route(topic)
  const route = known ?? (firstUse.wantsNewRoute(command) ? routes.newRoute(topic) : undefined)
  if (route === undefined) {
    // Clients depend on this code to fall back to the route of new topics.
    return {
      code: RESPONSE.topicNotExist,
      remark: `No topic route info in name server for the topic: ${topic}`,
    }
  }
  const brokers = route.brokers.map((broker) => ({
    ...broker,
    addresses: new Map([...broker.addresses].map(([id, address]) => [id, call.reachable(address)])),
  }))
  return { body: encodeRoute({ ...route, brokers }) }
}

function clusterInfo(call: NameServerCall): Answer {
  const brokers = call.routes.brokers().map((broker) => ({
    ...broker,
    addresses: new Map([...broker.addresses].map(([id, address]) => [id, call.reachable(address)])),
  }))
  return { body: encodeClusterInfo({ brokers }) }
}

async function allTopics({ routes, clock }: NameServerCall): Promise<Answer> {
  return { body: await encodeTopicList(routes.topics(), new Slice(clock)) }
}

async function topicsByCluster(call: NameServerCall): Promise<Answer> {
  const { cluster } = readFields(GET_TOPICS_BY_CLUSTER, call.command.fields)
  const slice = new Slice(call.clock)
  return { body: await encodeTopicList(call.routes.topicsOfCluster(cluster), slice) }
}

/** To the name server, clusters and brokers are topics: each broker has one of its own name. */
async function systemTopics(call: NameServerCall): Promise<Answer> {
  const brokers = call.routes.brokers()
  const clusters = new Set(brokers.map((broker) => broker.cluster))
  const [first] = brokers.flatMap((broker) => [...broker.addresses.values()])
  const names = [...clusters, ...brokers.map((broker) => broker.brokerName)]
  const body = await encodeTopicList(names, new Slice(call.clock), first && call.reachable(first))
  return { body }
}

function deleteTopic(call: NameServerCall): Answer {
  const { topic, clusterName } = readFields(DELETE_TOPIC_ROUTE, call.command.fields)
  call.routes.deleteTopic(topic, clusterName === '' ? undefined : clusterName)
  return {}
}

function registerTopic(call: NameServerCall): Answer {
  const { topic } = readFields(TOPIC, call.command.fields)
  checkTopicName(topic)
  call.routes.addTopic(topic, decodeRoute(call.command.body).queues)
  return {}
}

async function setWritable(call: NameServerCall, isWritable: boolean): Promise<Answer> {
  const { brokerName } = readFields(BROKER_NAME, call.command.fields)
  // Not of a table that is still on its way in.
  const count = await call.registrations.run(0, async () => {
    await call.routes.settled()
    return call.routes.setWritable(brokerName, isWritable)
  })
  return {
    fields: isWritable
      ? writeFields(ADDED, { addTopicCount: count })
      : writeFields(WIPED, { wipeTopicCount: count }),
  }
}

function putValue(call: NameServerCall): Answer {
  const { namespace, key, value } = readFields(PUT_KEY_VALUE, call.command.fields)
  call.values.put(namespace, key, value)
  return {}
}

function getValue(call: NameServerCall): Answer {
  const { namespace, key } = readFields(KEY, call.command.fields)
  const value = call.values.get(namespace, key)
  if (value !== undefined) return { fields: writeFields(VALUE, { value }) }
  return {
    code: RESPONSE.queryNotFound,
    remark: `No config item, Namespace: ${namespace} Key: ${key}`,
  }
}

function deleteValue(call: NameServerCall): Answer {
  const { namespace, key } = readFields(KEY, call.command.fields)
  call.values.delete(namespace, key)
  return {}
}

function listValues(call: NameServerCall): Answer {
  const { namespace } = readFields(NAMESPACE, call.command.fields)
  const entries = call.values.list(namespace)
  if (entries !== undefined) return { body: encodeTable(entries) }
  return { code: RESPONSE.queryNotFound, remark: `No config item, Namespace: ${namespace}` }
}

/** What a name server of Apache's may be set to, as this one is; nothing of it can be changed. */
const CONFIGURATION: ReadonlyMap<string, string> = new Map([
  ['orderMessageEnable', 'false'],
  ['clusterTest', 'false'],
  ['supportActingMaster', 'false'],
  ['enableAllTopicList', 'true'],
  ['enableTopicList', 'true'],
])

function configuration(): Answer {
  const lines = [...CONFIGURATION].map(([name, value]) => `${name}=${value}\n`)
  return { body: Buffer.from(lines.join('')) }
}

/** @throws BrokerError ARGUMENT_INVALID for what it is not already */
function updateConfiguration({ command }: NameServerCall): Answer {
  for (const [name, value] of decodeProperties(command.body)) {
    if (CONFIGURATION.get(name) === value) continue
    const text = name.slice(0, 80)
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `the setting '${text}' of this name server cannot be changed while it runs`,
    )
  }
  return {}
}

export const unsupported = (code: number): Answer => ({
  code: RESPONSE.requestCodeNotSupported,
  remark: ` request type ${code} not supported`,
})

const CODE_OF_ERROR: ReadonlyMap<ErrorCode, number> = new Map<ErrorCode, number>([
  ['ARGUMENT_INVALID', RESPONSE.invalidParameter],
  ['NAME_INVALID', RESPONSE.invalidParameter],
  ['UNAUTHENTICATED', RESPONSE.noPermission],
  ['PERMISSION_DENIED', RESPONSE.noPermission],
])

export function failed(thrown: unknown): Answer {
  const { code, message } = BrokerError.from(thrown)
  return { code: CODE_OF_ERROR.get(code) ?? RESPONSE.systemError, remark: message }
}
