// The requests of clients to the name server: GET_ROUTEINFO_BY_TOPIC (105), GET_BROKER_CLUSTER_INFO
// (106) and the topic lists (206, 224, 304). Go's client parses `brokerAddrs` by hand: compact
// JSON, no white space.
import type { Slice } from '../../clock.ts'
import { emitJson, jsonBody, jsonBodyInSlices } from '../json/json-emitter.ts'
import { asObject, numberAt, textOf } from '../json/json-members.ts'
import {
  decoder,
  encoder,
  list,
  number,
  object,
  only,
  type Shape,
  type Shaped,
  string,
  table,
  wire,
} from '../json/shape.ts'
import { bool, layout, optional, text } from '../layout.ts'

export const GET_ROUTE = layout({ topic: text, acceptStandardJsonOnly: optional(bool) })
export const GET_TOPICS_BY_CLUSTER = layout({ cluster: text })

/** Broker id to 'host:port'; 0 is the master. */
const ADDRESSES: Shape<ReadonlyMap<number, string>> = {
  of(value) {
    const addresses = new Map<number, string>()
    for (const [id, address] of asObject(value)) {
      if (typeof id === 'string' && typeof address === 'string') addresses.set(Number(id), address)
    }
    return addresses
  },
  out: (addresses) => addresses,
}

const BROKER_ADDRESSES = object(
  {
    addresses: wire('brokerAddrs', ADDRESSES),
    brokerName: string,
    cluster: string,
  },
  { enableActingMaster: false },
)
export type BrokerAddresses = Shaped<typeof BROKER_ADDRESSES>
const BROKER_TABLE = table(BROKER_ADDRESSES, ({ brokerName }) => brokerName)

/** Absent, or empty: none. */
const ORDER: Shape<string | undefined> = {
  of: (value) => textOf(value) || undefined,
  out: (value) => value,
}

const ROUTE_QUEUES = object({
  brokerName: string,
  perm: number,
  readQueues: wire('readQueueNums', number),
  topicSysFlag: number,
  writeQueues: wire('writeQueueNums', number),
})
export type RouteQueues = Shaped<typeof ROUTE_QUEUES>

/** Older name servers write `topicSynFlag`. */
const READ_QUEUES: Shape<RouteQueues> = {
  of: (value) => ({
    ...ROUTE_QUEUES.of(value),
    ...(asObject(value).has('topicSynFlag') && {
      topicSysFlag: numberAt(asObject(value), 'topicSynFlag'),
    }),
  }),
  out: ROUTE_QUEUES.out,
}

const ROUTE = object(
  {
    brokers: wire('brokerDatas', list(BROKER_ADDRESSES)),
    /** 'broker:queues;broker:queues' for topics with a fixed order. */
    orderTopicConf: ORDER,
    queues: wire('queueDatas', list(READ_QUEUES)),
  },
  { filterServerTable: {} },
)
export type TopicRoute = Shaped<typeof ROUTE>
export const decodeRoute = decoder(ROUTE)
export const encodeRoute = encoder(ROUTE)

export interface ClusterInfo {
  readonly brokers: readonly BrokerAddresses[]
}

export function encodeClusterInfo({ brokers }: ClusterInfo): Buffer {
  const clusters = new Map<string, string[]>()
  for (const { cluster, brokerName } of brokers) {
    const names = clusters.get(cluster)
    if (names) names.push(brokerName)
    else clusters.set(cluster, [brokerName])
  }
  return jsonBody({
    brokerAddrTable: BROKER_TABLE.out(brokers),
    clusterAddrTable: clusters,
  })
}

export const decodeClusterInfo = decoder(object({ brokers: wire('brokerAddrTable', BROKER_TABLE) }))

export const encodeTopicList = (
  topics: Iterable<string>,
  slice: Slice,
  brokerAddress?: string,
): Promise<Buffer> => {
  const broker = brokerAddress === undefined ? '' : `"brokerAddr":${emitJson(brokerAddress)},`
  return jsonBodyInSlices(`{${broker}"topicList":[`, texts(topics), ']}', slice)
}

function* texts(all: Iterable<string>): Generator<string> {
  for (const text of all) yield emitJson(text)
}

export const decodeTopicList = decoder(only('topicList', list(string)))
