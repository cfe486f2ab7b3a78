// Traces of messages in a server: what is loaded for them, where they are switched on.
import type { Protocol } from '../model/client.ts'
import type { Broker } from '../port/broker.ts'
import { ownVersion } from '../version.ts'
import type { Composition } from './composition.ts'

/** The broker as one front-end sees it. */
export type Traced = (broker: Broker, protocol: Protocol) => Broker

/**
 * undefined: nothing is traced, and front-ends have the broker itself.
 * @throws BrokerError CONFIG_INVALID
 */
export async function composeTracing({
  config,
  log,
  clock,
  numbers,
  parts,
}: Pick<Composition, 'config' | 'log' | 'clock' | 'numbers' | 'parts'>): Promise<
  Traced | undefined
> {
  const { endpoint } = config.tracing
  if (endpoint === undefined) return undefined
  const [{ openSpanTarget }, { MessageSpans }, { tracedBroker }] = await Promise.all([
    import('../tracing/span-exporter.ts'),
    import('../tracing/message-spans.ts'),
    import('../tracing/traced-broker.ts'),
  ])
  const target = await openSpanTarget(endpoint, config.tracing, {
    ...{ log, numbers, version: ownVersion(), instance: config.broker.name },
  })
  // Behind the front-ends: what they still do is told too.
  parts.add('tracing', () => target.close())
  const spans = new MessageSpans(target, config.tracing, clock, numbers)
  return (broker, protocol) => tracedBroker(broker, protocol, spans)
}
