// What MQTT keeps: sessions, and the names of retained messages.
import { z } from 'zod'
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { MqttView } from '../../../port/gateway.ts'
import { type ApiQuestion, endpoint } from './endpoint.ts'
import { PAGE, PAGE_MAX, pageOf } from './pages.ts'

export const mqttEndpoints = [
  endpoint({
    method: 'GET',
    path: '/mqtt/sessions',
    summary: 'MQTT sessions, with a connection or waiting for one',
    query: z.strictObject(PAGE),
    answers: 'The sessions by client id.',
    async serve(asked) {
      const view = viewOf(asked)
      const slice = new Slice(asked.context.clock)
      const nameOf = ({ clientId }: { readonly clientId: string }) => clientId
      const { page, ...rest } = await pageOf(view.sessions(), nameOf, asked.query, slice)
      const sessions = page.map(({ clientId }) => {
        const { subscriptions = [], ...session } = view.session(clientId) ?? { clientId }
        return { ...session, subscriptions: subscriptions.length }
      })
      return { sessions, ...rest }
    },
  }),
  endpoint({
    method: 'GET',
    path: '/mqtt/sessions/:client',
    summary: 'One MQTT session and its subscriptions',
    answers: 'The session. Without an `expiryMs` it never ends by itself.',
    serve(asked) {
      const clientId = asked.params['client']!
      const session = viewOf(asked).session(clientId)
      if (session !== undefined) return session
      throw new BrokerError('CLIENT_NOT_FOUND', `there is no session '${clientId.slice(0, 300)}'`)
    },
  }),
  endpoint({
    method: 'GET',
    path: '/mqtt/retained',
    summary: 'Names with a retained message',
    query: z.strictObject({
      filter: z.string().min(1).default('#').describe('A filter of MQTT: `plant/+/state`.'),
      after: z.string().default('').describe('The last name of the page before, or its `next`.'),
      max: z.coerce.number().int().min(1).max(PAGE_MAX).default(100),
    }),
    answers: 'The names in their order. A look at very many may end early: go on at `next`.',
    serve(asked) {
      const { filter, after, max } = asked.query
      const { names, seenTo } = viewOf(asked).retained(filter, after, max)
      const next = seenTo ?? (names.length === max ? names.at(-1) : undefined)
      return { names, ...(next !== undefined && { next }) }
    },
  }),
]

/** @throws BrokerError PERMISSION_DENIED, NOT_SUPPORTED */
function viewOf({ context, principal }: ApiQuestion<unknown, unknown>): MqttView {
  context.auth.authorize(principal, 'manage', { kind: 'cluster' })
  const view = context.views?.mqtt
  if (view !== undefined) return view
  throw new BrokerError('NOT_SUPPORTED', 'this server has no MQTT')
}
