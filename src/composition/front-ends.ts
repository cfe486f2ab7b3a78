// The front-ends of RocketMQ's protocol, MQTT and AMQP: loaded where they are enabled, and served
// at the addresses of their protocols.
import type { Config } from '../config.ts'
import { mqttCounters } from '../gateway/mqtt/numbers.ts'
import { allOf, listenerFor } from '../listeners.ts'
import { LateGateway } from '../net/late-gateway.ts'
import type { Listener } from '../net/listener.ts'
import type { Gateway, GatewayContext } from '../port/gateway.ts'
import { Traffic } from '../port/traffic.ts'
import type { OpenAside } from '../remoting/serving/aside.ts'
import type { Composition } from './composition.ts'
import { composeTracing } from './tracing.ts'

const FRONT_END_NAMES = ['remoting', 'mqtt', 'amqp'] as const
type FrontEndName = (typeof FRONT_END_NAMES)[number]
type OpenFrontEnd = (
  context: GatewayContext,
  config: Config,
  aside: OpenAside | undefined,
) => Promise<Gateway>

/** Each loads only when it is enabled, most with the first connection. */
const FRONT_ENDS: Readonly<Record<FrontEndName, () => Promise<OpenFrontEnd>>> = {
  remoting: async () => {
    const { RemotingGateway } = await import('../gateway/remoting/server.ts')
    return async (context, config, aside) =>
      new RemotingGateway(context, { bodyBytesMax: config.broker.bodyBytesMax }, aside)
  },
  mqtt: async () => async (context, config) => {
    if (config.mqtt.engine === 'aedes') return openAedes(context, config)
    const { MqttGateway } = await import('../gateway/mqtt/server.ts')
    const gateway = new MqttGateway(context, config.mqtt)
    await gateway.open()
    return gateway
  },
  amqp: async () => {
    const { AmqpGateway } = await import('../gateway/amqp/server.ts')
    return async (context, config) => new AmqpGateway(context, config.amqp)
  },
}

async function openAedes(context: GatewayContext, { mqtt, broker }: Config): Promise<Gateway> {
  const { AedesGateway } = await import('../gateway/aedes/server.ts')
  const gateway = new AedesGateway(context, { ...mqtt, bodyBytesMax: broker.bodyBytesMax })
  await gateway.open()
  return gateway
}

const openFrontEnd =
  (name: FrontEndName): OpenFrontEnd =>
  async (context, config, aside) => {
    const { master } = context
    const open = async (): Promise<Gateway> => {
      if (name !== 'mqtt' || master === undefined) {
        return (await FRONT_ENDS[name]())(context, config, aside)
      }
      const { MqttElsewhere } = await import('../gateway/mqtt/elsewhere.ts')
      return new MqttElsewhere(context, () => master('mqtt'))
    }
    if (name === 'mqtt' && master === undefined && (await isAwaited(context, config))) return open()
    // Its numbers are there before its first client.
    new Traffic(context.numbers, name)
    if (name === 'mqtt') showNothing(context)
    return new LateGateway(name, open, context.log)
  }

/** What the ids of MQTT's sessions and retained messages begin with. */
const MQTT_STATES = 'mqtt/'

/**
 * Is there something to be done for MQTT while it has no connection? For what it keeps there is,
 * and before a cluster for the sessions of gateways that are gone.
 */
async function isAwaited({ broker }: GatewayContext, { mqtt }: Config): Promise<boolean> {
  // Whether aedes is there is found at the start.
  if (broker.lightQueues === undefined || mqtt.engine === 'aedes') return true
  for await (const page of broker.states.list(MQTT_STATES)) if (page.length > 0) return true
  return false
}

/** What an MQTT front-end without sessions and retained messages shows. */
function showNothing({ numbers, views }: GatewayContext): void {
  mqttCounters(numbers)
  if (views === undefined) return
  views.mqtt = {
    sessions: () => [],
    session: () => undefined,
    retained: () => ({ names: [], seenTo: undefined }),
  }
}

/** One gateway for all listeners of its protocol: they share its sessions, links and clients. */
export interface FrontEnd {
  readonly name: FrontEndName
  readonly listeners: readonly Listener[]
  readonly open: OpenFrontEnd
}

export const frontEndsOf = ({ listeners, protocols }: Composition): readonly FrontEnd[] =>
  FRONT_END_NAMES.filter(
    (name) => protocols.includes(name) && listenerFor(listeners, name) !== undefined,
  ).map((name) => ({ name, listeners: allOf(listeners, name), open: openFrontEnd(name) }))

/**
 * They say goodbye to their clients at the same time, so that a stop takes one deadline at most.
 */
export async function serveFrontEnds(
  composition: Composition,
  frontEnds: readonly FrontEnd[],
  context: GatewayContext,
): Promise<void> {
  const { config, parts, any, aside, leaving } = composition
  const traced = await composeTracing(composition)
  const everyProtocol = allOf(composition.listeners, 'any')
  const closers: (() => Promise<void>)[] = []
  parts.add('front-ends', async () => {
    const ends = await Promise.allSettled(closers.map((close) => close()))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  })
  for (const { name, listeners, open } of frontEnds) {
    const seen =
      traced === undefined ? context : { ...context, broker: traced(context.broker, name) }
    const gateway = await open(seen, config, aside)
    closers.push(() => {
      const { isLast, deadlineMs } = leaving()
      for (const listener of [...listeners, ...everyProtocol]) if (isLast) listener.stopAccepting()
      return gateway.close(deadlineMs)
    })
    for (const listener of listeners) listener.serve(gateway)
    any.open(name, gateway)
  }
}
