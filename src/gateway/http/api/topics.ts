// Topics: their definitions, queues and consumers.
import { z } from 'zod'
import { isAllowed } from '../../../access/auth.ts'
import { Slice } from '../../../clock.ts'
import { QUEUES_PER_TOPIC_MAX } from '../../../model/limits.ts'
import { isDeadLetterTopic, isRetryTopic, isUserTopic } from '../../../model/names.ts'
import {
  PERM_READ,
  PERM_READ_WRITE,
  PERM_WRITE,
  type TopicDefinition,
} from '../../../model/topic.ts'
import type { Broker } from '../../../port/broker.ts'
import { deleteTopic, putTopic } from '../../admin/definitions.ts'
import { type ApiQuestion, endpoint } from './endpoint.ts'
import { isGone, PAGE, type PageQuery, readableOne, readablePage } from './pages.ts'

const PERMISSIONS = { 'read-write': PERM_READ_WRITE, read: PERM_READ, write: PERM_WRITE, none: 0 }
type Permission = keyof typeof PERMISSIONS

const queues = () => z.int().min(1).max(QUEUES_PER_TOPIC_MAX).optional()

export const topicEndpoints = [
  endpoint({
    method: 'GET',
    path: '/topics',
    summary: 'Topics that the user may read',
    query: z.strictObject({
      ...PAGE,
      all: z
        .enum(['true', 'false'])
        .default('false')
        .describe('Also retry, dead-letter and system topics.'),
    }),
    answers: 'The topics by name, with how many messages are there and were ever stored.',
    serve: listTopics,
  }),
  endpoint({
    method: 'GET',
    path: '/topics/:topic',
    summary: 'One topic and its queues',
    answers: 'The topic, with the range of offsets of each queue.',
    serve: async (asked) => {
      const definition = await readable(asked)
      const { topics } = asked.context.broker
      return {
        ...shown(asked.context.broker, definition),
        queues: await topics.ranges(definition.name),
      }
    },
  }),
  endpoint({
    method: 'GET',
    path: '/topics/:topic/groups',
    summary: 'Groups that consume a topic',
    answers: 'Those that committed offsets in it or have members that subscribe to it, with lags.',
    serve: groupsOfTopic,
  }),
  endpoint({
    method: 'PUT',
    path: '/topics/:topic',
    summary: 'Create or change a topic',
    body: z.strictObject({
      queues: queues().describe('Of both kinds; default: as it is, or 8.'),
      readQueues: queues(),
      writeQueues: queues(),
      permission: z.enum(['read-write', 'read', 'write', 'none']).optional(),
      ordered: z
        .boolean()
        .optional()
        .describe('Keep its queues while a broker is away, for strict order.'),
    }),
    answers: 'The topic as it is now. What is left out stays as it was.',
    async serve({ params, body, principal, context }) {
      const name = params['topic']!
      const known = await context.broker.topics.get(name)
      const { queuesDefault } = (await context.broker.status()).settings
      const { permission } = body
      const wanted: TopicDefinition = {
        ...{ name, ordered: false, sysFlag: 0 },
        ...known,
        readQueues: body.readQueues ?? body.queues ?? known?.readQueues ?? queuesDefault,
        writeQueues: body.writeQueues ?? body.queues ?? known?.writeQueues ?? queuesDefault,
        perm: permission === undefined ? (known?.perm ?? PERM_READ_WRITE) : PERMISSIONS[permission],
        ...(body.ordered !== undefined && { ordered: body.ordered }),
      }
      await putTopic({ context, principal }, wanted)
      return shown(context.broker, wanted)
    },
  }),
  endpoint({
    method: 'DELETE',
    path: '/topics/:topic',
    summary: 'Delete a topic and its messages',
    answers: 'Nothing.',
    async serve({ params, principal, context }) {
      await deleteTopic({ context, principal }, params['topic']!)
    },
  }),
]

/** @throws BrokerError PERMISSION_DENIED, TOPIC_NOT_FOUND */
const readable = (asked: ApiQuestion<unknown, unknown>): Promise<TopicDefinition> =>
  readableOne(asked, 'topic', (name) => asked.context.broker.topics.get(name))

async function listTopics(asked: ApiQuestion<PageQuery & { readonly all: string }, unknown>) {
  const { broker } = asked.context
  const { brokerName } = broker.identity
  const all = await broker.topics.list()
  const wanted =
    asked.query.all === 'true' ? all : all.filter(({ name }) => kindOf(name, brokerName) === 'user')
  const { page, ...rest } = await readablePage(asked, 'topic', wanted, async (definition) => {
    let [messages, stored] = [0, 0]
    for (const { minOffset, maxOffset } of await broker.topics.ranges(definition.name)) {
      messages += maxOffset - minOffset
      stored += maxOffset
    }
    return { ...shown(broker, definition), messages, stored }
  })
  return { topics: page, ...rest }
}

async function groupsOfTopic(asked: ApiQuestion<unknown, unknown>) {
  const { name } = await readable(asked)
  const { broker, clock, auth } = asked.context
  const slice = new Slice(clock)
  const groups: unknown[] = []
  for (const { name: group } of await broker.groups.list()) {
    if (slice.isOver) await slice.rest()
    if (!isAllowed(auth, asked.principal, 'read', { kind: 'group', name: group })) continue
    const lags = await broker.groups.lags(group).catch((error: unknown) => {
      if (isGone(error)) return []
      throw error
    })
    const own = lags.filter(({ topic }) => topic === name)
    if (own.length === 0) continue
    groups.push({ group, lag: own.reduce((sum, { lag }) => sum + lag, 0) })
  }
  return { groups }
}

function kindOf(name: string, brokerName: string): 'user' | 'retry' | 'deadLetters' | 'system' {
  if (isRetryTopic(name)) return 'retry'
  if (isDeadLetterTopic(name)) return 'deadLetters'
  return isUserTopic(name, brokerName) ? 'user' : 'system'
}

function shown(
  { identity }: Pick<Broker, 'identity'>,
  { name, readQueues, writeQueues, perm, ordered }: TopicDefinition,
) {
  const bits = perm & PERM_READ_WRITE
  const known = Object.entries(PERMISSIONS).find(([, value]) => value === bits)
  const permission = (known?.[0] ?? 'none') as Permission
  return {
    name,
    kind: kindOf(name, identity.brokerName),
    readQueues,
    writeQueues,
    permission,
    ordered,
  }
}
