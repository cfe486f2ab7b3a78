// trivet topic: create, list, describe and delete topics.
import { Away } from './away.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { instant } from './words.ts'

const json = { type: 'boolean', describe: 'Print one JSON object.' } as const
const topicArgument = { name: 'topic', describe: 'Name of the topic.' }

export const create = command({
  summary: 'Create a topic',
  positionals: [topicArgument],
  flags: {
    ...connectionFlags,
    queues: { type: 'number', short: 'q', describe: 'Queues on each broker (default: 8).' },
    ordered: {
      type: 'boolean',
      describe: 'Keep its queues while a broker is away, for strict order.',
    },
  },
  examples: ['trivet topic create orders', 'trivet topic create ledger --queues 1 --ordered'],
  async run({ args, flags, env, signal, terminal }) {
    const [name = ''] = args
    const { queues, ordered } = flags
    await withClient({ flags, env, signal }, (client) =>
      client.admin.topics.create({ name, queues, ordered }, { signal }),
    )
    terminal.print(`created ${name}`)
  },
})

export const list = command({
  summary: 'List topics',
  flags: {
    ...connectionFlags,
    all: { type: 'boolean', describe: 'Also retry, dead-letter and system topics.' },
    json,
  },
  async run({ flags, env, signal, terminal }) {
    const away = new Away()
    const { missing } = away
    const topics = await withClient({ flags, env, signal }, (client) =>
      client.admin.topics.list({ all: flags.all, signal, missing }),
    )
    away.tell(terminal)
    if (flags.json) return terminal.json({ topics, ...away.json })
    if (topics.length === 0) terminal.note('there are no topics; the first message makes one')
    else {
      terminal.table(
        ['TOPIC', 'BROKER', 'QUEUES', 'PERMISSION', 'ORDERED'],
        topics.map((topic) => [
          topic.name,
          topic.brokerName,
          topic.writeQueues,
          permission(topic.perm),
          topic.ordered ? 'yes' : 'no',
        ]),
      )
    }
  },
})

export const describe = command({
  summary: 'Show the queues of a topic and the groups that consume it',
  positionals: [topicArgument],
  flags: { ...connectionFlags, json },
  async run({ args, flags, env, signal, terminal }) {
    const away = new Away()
    const { missing } = away
    const topic = await withClient({ flags, env, signal }, (client) =>
      client.admin.topics.describe(args[0] ?? '', { signal, missing }),
    )
    away.tell(terminal)
    if (flags.json) return terminal.json({ ...topic, ...away.json })
    terminal.print(`${topic.name}: ${topic.messages} messages`)
    terminal.print(`groups: ${topic.groups.length === 0 ? '-' : topic.groups.join(', ')}`)
    terminal.print('')
    terminal.table(
      ['BROKER', 'QUEUE', 'FIRST', 'NEXT', 'MESSAGES', 'LAST STORED'],
      topic.queues.map((queue) => [
        queue.brokerName,
        queue.queueId,
        queue.minOffset,
        queue.maxOffset,
        queue.maxOffset - queue.minOffset,
        instant(queue.lastStoredMs),
      ]),
    )
  },
})

export const remove = command({
  summary: 'Delete a topic and its messages',
  positionals: [topicArgument],
  flags: { ...connectionFlags },
  async run({ args, flags, env, signal, terminal }) {
    const [name = ''] = args
    await withClient({ flags, env, signal }, (client) =>
      client.admin.topics.delete(name, { signal }),
    )
    terminal.print(`deleted ${name}`)
  },
})

/** RocketMQ's bits: 4 read, 2 write. */
const permission = (bits: number): string =>
  `${(bits & 4) === 0 ? '' : 'r'}${(bits & 2) === 0 ? '' : 'w'}` || 'none'
