// Consumer groups: their places, members and definitions.
import { z } from 'zod'
import { isAllowed } from '../../../access/auth.ts'
import type { ClientRegistration } from '../../../model/client.ts'
import { type GroupDefinition, groupDefaults } from '../../../model/group.ts'
import type { QueueLag } from '../../../model/message.ts'
import { topicOnWire } from '../../../model/names.ts'
import { deleteGroup, putGroup } from '../../admin/definitions.ts'
import { resetGroup } from '../../admin/reset.ts'
import { type ApiQuestion, endpoint } from './endpoint.ts'
import { PAGE, type PageQuery, readableOne, readablePage } from './pages.ts'

export const groupEndpoints = [
  endpoint({
    method: 'GET',
    path: '/groups',
    summary: 'Consumer groups that the user may read',
    query: z.strictObject(PAGE),
    answers: 'The groups by name, with their members and how far they are behind.',
    serve: listGroups,
  }),
  endpoint({
    method: 'GET',
    path: '/groups/:group',
    summary: 'One group, its members and its place in each queue',
    answers: 'The group. A `committedOffset` of -1: it never committed there.',
    async serve(asked) {
      const definition = await readable(asked)
      const { broker } = asked.context
      const queues = await readableLags(asked, definition.name)
      const members = membersOf(await broker.clients.list(), definition.name)
      return { ...shown(definition), ...sums(queues), members, queues }
    },
  }),
  endpoint({
    method: 'PUT',
    path: '/groups/:group',
    summary: 'Create or change a consumer group',
    body: z.strictObject({
      consumeEnabled: z.boolean().optional(),
      broadcastEnabled: z.boolean().optional(),
      retryQueues: z.int().min(1).optional(),
      retryTimesMax: z
        .int()
        .min(-1)
        .optional()
        .describe('Deliveries after the first; then a message is a dead letter.'),
    }),
    answers: 'The group as it is now. What is left out stays as it was.',
    async serve({ params, body, principal, context }) {
      const name = params['group']!
      const known = await context.broker.groups.get(name)
      const given = Object.entries(body).filter(([, value]) => value !== undefined)
      const wanted = { ...(known ?? groupDefaults(name)), ...Object.fromEntries(given) }
      await putGroup({ context, principal }, wanted)
      return shown(wanted)
    },
  }),
  endpoint({
    method: 'DELETE',
    path: '/groups/:group',
    summary: 'Delete a consumer group',
    query: z.strictObject({
      keepOffsets: z
        .enum(['true', 'false'])
        .default('false')
        .describe('A group that is made again under the name goes on where this one was.'),
    }),
    answers: 'Nothing.',
    async serve({ params, query, principal, context }) {
      const keepOffsets = query.keepOffsets === 'true'
      await deleteGroup({ context, principal }, params['group']!, { keepOffsets })
    },
  }),
  endpoint({
    method: 'POST',
    path: '/groups/:group/reset',
    summary: 'Move a group in a topic, members that are connected too',
    body: z.strictObject({
      topic: z.string().min(1),
      queue: z.int().min(0).optional().describe('Default: all.'),
      to: z.union([
        z.enum(['first', 'end']),
        z.strictObject({ offset: z.int().min(0) }),
        z.strictObject({ timeMs: z.int().min(0).describe('Epoch ms.') }),
      ]),
    }),
    answers: 'Where the group is now, queue by queue.',
    async serve({ params, body, principal, context }) {
      const { topic, queue: queueId, to } = body
      const at =
        typeof to === 'string'
          ? { timestampMs: to === 'first' ? 0 : undefined }
          : 'offset' in to
            ? { offset: to.offset }
            : { timestampMs: to.timeMs }
      const request = { group: params['group']!, topic, queueId, ...at }
      const { cursors } = context.broker
      const places = await resetGroup({ context, principal }, request, (queue, timestampMs) =>
        cursors.byTime(queue, timestampMs, 'lower'),
      )
      return { queues: places.map(({ queue, offset }) => ({ ...queueOf(queue), offset })) }
    },
  }),
]

const queueOf = ({
  topic,
  brokerName,
  queueId,
}: Pick<QueueLag, 'topic' | 'brokerName' | 'queueId'>) => ({
  topic,
  brokerName,
  queueId,
})

/** @throws BrokerError PERMISSION_DENIED, GROUP_NOT_FOUND */
export const readable = (asked: ApiQuestion<unknown, unknown>): Promise<GroupDefinition> =>
  readableOne(asked, 'group', (name) => asked.context.broker.groups.get(name))

async function listGroups(asked: ApiQuestion<PageQuery, unknown>) {
  const { broker } = asked.context
  const members = memberCounts(await broker.clients.list())
  const all = await broker.groups.list()
  const { page, ...rest } = await readablePage(asked, 'group', all, async (definition) => ({
    ...shown(definition),
    members: members.get(definition.name) ?? 0,
    ...sums(await readableLags(asked, definition.name)),
  }))
  return { groups: page, ...rest }
}

/** In the topics that the user may read. */
async function readableLags(
  { context, principal }: Pick<ApiQuestion<unknown, unknown>, 'context' | 'principal'>,
  group: string,
): Promise<readonly QueueLag[]> {
  const { broker, auth } = context
  const lags = await broker.groups.lags(group)
  return lags.filter(({ topic }) => {
    return isAllowed(auth, principal, 'read', { kind: 'topic', name: topicOnWire(topic) })
  })
}

function sums(queues: readonly QueueLag[]) {
  let [lag, inFlight] = [0, 0]
  for (const queue of queues) {
    lag += queue.lag
    inFlight += queue.inFlight
  }
  return { lag, inFlight }
}

const membersOf = (clients: readonly ClientRegistration[], group: string) =>
  clients.flatMap(({ clientId, protocol, address, language, consumers }) =>
    consumers
      .filter((consumer) => consumer.group === group)
      .map(({ model, mode, subscriptions }) => ({
        ...{ clientId, protocol, address, language, model, mode },
        topics: subscriptions.map(({ topic }) => topic),
      })),
  )

function memberCounts(clients: readonly ClientRegistration[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { consumers } of clients) {
    for (const { group } of consumers) counts.set(group, (counts.get(group) ?? 0) + 1)
  }
  return counts
}

const shown = ({
  name,
  consumeEnabled,
  broadcastEnabled,
  retryQueues,
  retryTimesMax,
}: GroupDefinition) => ({ name, consumeEnabled, broadcastEnabled, retryQueues, retryTimesMax })
