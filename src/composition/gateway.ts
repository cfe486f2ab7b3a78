// The front-ends before a cluster: nothing is stored in this process.
import { openClusterBroker } from '../cluster/broker.ts'
import type { GatewayContext } from '../port/gateway.ts'
import type { Composition } from './composition.ts'
import { frontEndsOf, serveFrontEnds } from './front-ends.ts'

export async function composeGateway(composition: Composition): Promise<GatewayContext> {
  const { config, certificates, log, clock, auth, parts, numbers } = composition
  const { tls, accessKey, secretKey, ...options } = config.cluster
  const broker = await openClusterBroker({
    clock,
    name: config.broker.name,
    options: {
      ...options,
      tls: tls ? certificates.dialling : undefined,
      credentials:
        accessKey === undefined || secretKey === undefined ? undefined : { accessKey, secretKey },
    },
  })
  parts.add('cluster', () => broker.close())
  const context = { broker, auth, log, clock, numbers, views: {} }
  await serveFrontEnds(composition, frontEndsOf(composition), context)
  return context
}
