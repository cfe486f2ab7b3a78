// The broker itself: state, numbers, settings, connected clients.
import { z } from 'zod'
import { Slice } from '../../../clock.ts'
import type { ClientRegistration } from '../../../model/client.ts'
import { numbersTable } from '../../../numbers/text.ts'
import { endpoint } from './endpoint.ts'
import { PAGE, pageOf } from './pages.ts'

const CLUSTER = { kind: 'cluster' } as const

export const clusterEndpoints = [
  endpoint({
    method: 'GET',
    path: '/status',
    summary: 'State of the broker',
    answers: 'Identity, whether it takes messages, sizes, counts and rates.',
    async serve({ context, principal }) {
      context.auth.authorize(principal, 'read', CLUSTER)
      const { identity, ...status } = await context.broker.status()
      const { clusterName, brokerName, brokerId } = identity
      return { clusterName, brokerName, brokerId, ...status }
    },
  }),
  endpoint({
    method: 'GET',
    path: '/replication',
    summary: 'The copies of the log',
    answers:
      'Of a master its connected slaves with what each has confirmed, and how many copies are in sync; of a ' +
      'slave its master and whether it follows. Of a broker without copies `isMaster` alone.',
    async serve({ context, principal }) {
      context.auth.authorize(principal, 'read', CLUSTER)
      const { broker, replication } = context
      return replication?.status() ?? { isMaster: broker.identity.brokerId === 0 }
    },
  }),
  endpoint({
    method: 'GET',
    path: '/numbers',
    summary: 'What the broker counts',
    answers: 'Each number by its name and labels; those of single topics are in /metrics.',
    async serve({ context, principal }) {
      context.auth.authorize(principal, 'read', CLUSTER)
      const table = numbersTable(await context.numbers.read())
      const numbers = Object.entries(table).map(([name, value]) => [name, Number(value)])
      return Object.fromEntries(numbers)
    },
  }),
  endpoint({
    method: 'GET',
    path: '/config',
    summary: 'Settings of the process',
    answers: 'Every setting; secrets are hidden.',
    serve({ context, principal }) {
      context.auth.authorize(principal, 'manage', CLUSTER)
      return context.settings
    },
  }),
  endpoint({
    method: 'GET',
    path: '/clients',
    summary: 'Connected clients of all protocols that produce or consume',
    query: z.strictObject({ ...PAGE, protocol: z.enum(['remoting', 'mqtt', 'amqp']).optional() }),
    answers: 'The clients by id, with their groups and subscriptions.',
    async serve({ context, principal, query }) {
      context.auth.authorize(principal, 'manage', CLUSTER)
      const all = await context.broker.clients.list()
      const { protocol } = query
      const wanted = protocol === undefined ? all : all.filter((one) => one.protocol === protocol)
      // Two connections may have one id.
      const nameOf = (one: ClientRegistration) => `${one.clientId} ${one.connectionId}`
      const slice = new Slice(context.clock)
      const { page, ...rest } = await pageOf(wanted, nameOf, query, slice)
      const clients = page.map(({ consumers, ...client }) => ({
        ...client,
        consumers: consumers.map(({ group, model, mode, subscriptions }) => ({
          ...{ group, model, mode },
          topics: subscriptions.map(({ topic }) => topic),
        })),
      }))
      return { clients, ...rest }
    },
  }),
]
