// The requests of clients to the name server: GET_ROUTEINFO_BY_TOPIC (105), GET_BROKER_CLUSTER_INFO
// (106) and the topic lists (206, 224, 304). Go's client parses `brokerAddrs` by hand: compact
// JSON, no white space.
import type { Slice } from '../../clock.ts'
import type { JsonMap } from '../json/json.ts'
import { emitJson, type JsonOut, jsonBody, jsonBodyInSlices } from '../json/json-emitter.ts'
import {
  asObject,
  entriesAt,
  numberAt,
  objectsAt,
  parseObject,
  textAt,
  textsAt,
} from '../json/json-members.ts'
import { bool, layout, optional, text } from '../layout.ts'

export const GET_ROUTE = layout({ topic: text, acceptStandardJsonOnly: optional(bool) })
export const GET_TOPICS_BY_CLUSTER = layout({ cluster: text })

export interface BrokerAddresses {
  readonly cluster: string
  readonly brokerName: string
  /** Broker id to 'host:port'; 0 is the master. */
  readonly addresses: ReadonlyMap<number, string>
}

export interface RouteQueues {
  readonly brokerName: string
  readonly readQueues: number
  readonly writeQueues: number
  readonly perm: number
  readonly topicSysFlag: number
}

export interface TopicRoute {
  readonly brokers: readonly BrokerAddresses[]
  readonly queues: readonly RouteQueues[]
  /** 'broker:queues;broker:queues' for topics with a fixed order. */
  readonly orderTopicConf: string | undefined
}

export const encodeRoute = (route: TopicRoute): Buffer =>
  jsonBody({
    brokerDatas: route.brokers.map(brokerOut),
    filterServerTable: {},
    orderTopicConf: route.orderTopicConf,
    queueDatas: route.queues.map((queues) => ({
      brokerName: queues.brokerName,
      perm: queues.perm,
      readQueueNums: queues.readQueues,
      topicSysFlag: queues.topicSysFlag,
      writeQueueNums: queues.writeQueues,
    })),
  })

const brokerOut = (broker: BrokerAddresses): JsonOut => ({
  brokerAddrs: broker.addresses,
  brokerName: broker.brokerName,
  cluster: broker.cluster,
  enableActingMaster: false,
})

export function decodeRoute(body: Buffer): TopicRoute {
  const map = parseObject(body)
  return {
    brokers: objectsAt(map, 'brokerDatas').map(brokerOf),
    queues: decodeRouteQueues(map),
    orderTopicConf: textAt(map, 'orderTopicConf') || undefined,
  }
}

const decodeRouteQueues = (map: JsonMap): readonly RouteQueues[] =>
  objectsAt(map, 'queueDatas').map((queues) => ({
    brokerName: textAt(queues, 'brokerName'),
    readQueues: numberAt(queues, 'readQueueNums'),
    writeQueues: numberAt(queues, 'writeQueueNums'),
    perm: numberAt(queues, 'perm'),
    topicSysFlag: numberAt(queues, 'topicSysFlag', numberAt(queues, 'topicSynFlag')),
  }))

function brokerOf(map: JsonMap): BrokerAddresses {
  const addresses = new Map<number, string>()
  for (const [id, address] of entriesAt(map, 'brokerAddrs')) {
    if (typeof address === 'string') addresses.set(Number(id), address)
  }
  return { cluster: textAt(map, 'cluster'), brokerName: textAt(map, 'brokerName'), addresses }
}

export interface ClusterInfo {
  readonly brokers: readonly BrokerAddresses[]
}

export function encodeClusterInfo(info: ClusterInfo): Buffer {
  const clusters = new Map<string, string[]>()
  for (const { cluster, brokerName } of info.brokers) {
    const names = clusters.get(cluster)
    if (names) names.push(brokerName)
    else clusters.set(cluster, [brokerName])
  }
  return jsonBody({
    brokerAddrTable: new Map(info.brokers.map((broker) => [broker.brokerName, brokerOut(broker)])),
    clusterAddrTable: clusters,
  })
}

export function decodeClusterInfo(body: Buffer): ClusterInfo {
  const brokers = [...entriesAt(parseObject(body), 'brokerAddrTable')]
  return { brokers: brokers.map(([, broker]) => brokerOf(asObject(broker))) }
}

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

export const decodeTopicList = (body: Buffer): readonly string[] =>
  textsAt(parseObject(body), 'topicList')
