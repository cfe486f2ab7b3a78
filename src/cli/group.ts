// trivet group: the consumer groups and how far each is behind.
import { Away } from './away.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { visible } from './words.ts'

const json = { type: 'boolean', describe: 'Print one JSON object.' } as const

export const list = command({
  summary: 'List consumer groups',
  flags: { ...connectionFlags, json },
  async run({ flags, env, signal, terminal }) {
    const away = new Away()
    const { missing } = away
    const groups = await withClient({ flags, env, signal }, (client) =>
      client.admin.groups.list({ signal, missing }),
    )
    away.tell(terminal)
    if (flags.json) return terminal.json({ groups, ...away.json })
    if (groups.length === 0) terminal.note('there are no groups; the first consumer makes one')
    else {
      terminal.table(
        ['GROUP', 'RETRIES'],
        groups.map(({ name, retriesMax }) => [name, retriesMax]),
      )
    }
  },
})

export const describe = command({
  summary: 'Show the members of a group and how far it is behind in each queue',
  positionals: [{ name: 'group', describe: 'Name of the group.' }],
  flags: { ...connectionFlags, json },
  async run({ args, flags, env, signal, terminal }) {
    const away = new Away()
    const { missing } = away
    const group = await withClient({ flags, env, signal }, (client) =>
      client.admin.groups.describe(args[0] ?? '', { signal, missing }),
    )
    away.tell(terminal)
    if (flags.json) {
      const subscriptions = Object.fromEntries(group.subscriptions)
      return terminal.json({ ...group, subscriptions, ...away.json })
    }
    const how =
      group.broadcasting === undefined ? '' : group.broadcasting ? ', broadcasting' : ', clustering'
    terminal.print(`${group.name}: ${group.lag} messages behind${how}`)
    for (const [topic, tags] of group.subscriptions)
      terminal.print(visible(`wants ${topic}: ${tags}`))
    for (const { clientId, address, language } of group.members) {
      terminal.print(visible(`member ${clientId} at ${address} (${language})`))
    }
    if (group.members.length === 0) terminal.print('no member is connected')
    terminal.print('')
    terminal.table(
      ['TOPIC', 'BROKER', 'QUEUE', 'COMMITTED', 'NEXT', 'LAG'],
      group.queues.map((queue) => [
        queue.topic,
        queue.brokerName,
        queue.queueId,
        queue.committedOffset < 0 ? '-' : queue.committedOffset,
        queue.maxOffset,
        queue.lag,
      ]),
    )
  },
})
