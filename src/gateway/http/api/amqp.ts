// The links of AMQP clients, over all connections.
import { z } from 'zod'
import { Slice } from '../../../clock.ts'
import type { AmqpLinkView } from '../../../port/gateway.ts'
import { endpoint } from './endpoint.ts'
import { PAGE, pageOf } from './pages.ts'

export const amqpEndpoints = [
  endpoint({
    method: 'GET',
    path: '/amqp/links',
    summary: 'Links of AMQP clients',
    query: z.strictObject({
      ...PAGE,
      role: z
        .enum(['sender', 'receiver', 'coordinator'])
        .optional()
        .describe('Of the client; a coordinator controls transactions.'),
    }),
    answers:
      'The links by container, connection and name. `credit`: messages that may still be sent on ' +
      'one; `unsettled`: deliveries on it that wait for their settlement.',
    async serve({ context, principal, query }) {
      context.auth.authorize(principal, 'manage', { kind: 'cluster' })
      const wanted = linksOf(context.views?.amqp?.links() ?? [], query.role)
      const { page, ...rest } = await pageOf(wanted, nameOf, query, new Slice(context.clock))
      return { links: page, ...rest }
    },
  }),
]

function* linksOf(
  all: Iterable<AmqpLinkView>,
  role: AmqpLinkView['role'] | undefined,
): Generator<AmqpLinkView> {
  for (const link of all) if (role === undefined || link.role === role) yield link
}

/** Links of two sessions, or both directions, may have one name. */
const nameOf = ({ containerId, connectionId, channel, role, name }: AmqpLinkView): string =>
  `${containerId} ${connectionId} ${channel} ${role} ${name}`
