// trivet dlq: messages that a group gave up, read and sent again.
import type { Client, Message } from '../client/index.ts'
import { systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { command, type FlagValues } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { messageJson, messageLine } from './message-text.ts'
import { shownOf } from './wire/native-leg.ts'
import { instant, momentMs, visible } from './words.ts'

const groupArgument = { name: 'group', describe: 'Name of the group.' }

const selection = {
  ...connectionFlags,
  since: {
    type: 'text',
    value: 'time',
    describe: 'Given up at this time or later: 2026-01-31T12:00:00Z, or 2h for two hours ago.',
  },
  max: { type: 'number', describe: 'At most this many (default: all).' },
  json: { type: 'boolean', describe: 'Print one JSON object per message.' },
} as const

export const list = command({
  summary: 'List the dead letters of a group',
  details: 'They stay until retention takes them, replayed or not.',
  positionals: [groupArgument],
  flags: selection,
  examples: ['trivet dlq list billing --since 24h'],
  async run({ args, flags, env, signal, terminal }) {
    const [group = ''] = args
    await withClient({ flags, env, signal }, async (client) => {
      for await (const message of selected(client, group, flags, signal)) {
        if (flags.json) terminal.json(messageJson(shownOf(message), detailsOf(message)))
        else {
          terminal.print(messageLine(shownOf(message)))
          for (const [name, value] of Object.entries(detailsOf(message))) {
            const text = name.endsWith('Ms') ? instant(Number(value)) : value
            terminal.print(visible(`  ${name}: ${text}`))
          }
        }
      }
    })
  },
})

export const replay = command({
  summary: 'Send dead letters to their topic again',
  details:
    'Each goes to the topic that it was sent to first, where every group gets it, with its body, tag, keys and properties. ' +
    'The dead letters stay: what is replayed twice is sent twice.',
  positionals: [groupArgument],
  flags: {
    ...selection,
    id: { type: 'text', many: true, describe: 'Only the message with this id; several times.' },
    all: { type: 'boolean', describe: 'All of them, or all --since.' },
  },
  examples: [
    'trivet dlq replay billing --id C0A8000200005A4D666E20C7BEA40001',
    'trivet dlq replay billing --all --since 1h',
  ],
  async run({ args, flags, env, signal, terminal }) {
    const [group = ''] = args
    if (flags.id.length > 0 === flags.all) {
      throw new BrokerError('ARGUMENT_INVALID', 'say --id or --all, one of the two')
    }
    const missing = new Set(flags.id)
    let count = 0
    await withClient({ flags, env, signal }, async (client) => {
      for await (const message of selected(client, group, flags, signal, missing)) {
        missing.delete(message.messageId)
        const { messageId } = await client.deadLetters.replay(message, { signal })
        count++
        const { topic, messageId: from } = message
        if (flags.json) terminal.json({ from, topic, messageId })
        else terminal.print(visible(`${from} -> ${topic} ${messageId}`))
      }
    })
    const [first] = missing
    if (first !== undefined) {
      const text = `'${group}' has no dead letter with the id ${first}; see: trivet dlq list ${group}`
      throw new BrokerError('MESSAGE_NOT_FOUND', text)
    }
    if (!flags.json) terminal.print(`${count} sent`)
  },
})

/** `ids`: only these; empty: all. @throws BrokerError GROUP_NOT_FOUND where there are none */
async function* selected(
  client: Client,
  group: string,
  { since, max = Number.POSITIVE_INFINITY }: FlagValues<typeof selection>,
  signal: AbortSignal,
  ids: ReadonlySet<string> = new Set(),
): AsyncGenerator<Message> {
  const fromMs = since === undefined ? undefined : momentMs('--since', since, systemClock.now())
  const wanted = new Set(ids)
  let count = 0
  if (count >= max) return
  for await (const message of client.deadLetters.list(group, { fromMs, signal })) {
    if (wanted.size > 0 && !wanted.has(message.messageId)) continue
    yield message
    if (++count >= max) return
  }
  if (count === 0) await checkGroup(client, group, signal)
}

/** A name that is mistyped must not look like a group that gave nothing up. */
async function checkGroup(client: Client, group: string, signal: AbortSignal): Promise<void> {
  try {
    await client.admin.groups.describe(group, { signal })
  } catch (error) {
    // Its dead letters may be read without the right to see the group.
    if (BrokerError.from(error).code !== 'PERMISSION_DENIED') throw error
  }
}

const detailsOf = (message: Message): Record<string, string | number> => ({
  messageId: message.messageId,
  originTopic: message.topic,
  brokerName: message.brokerName,
  queueOffset: message.queueOffset,
  attempts: message.attempt,
  reason: message.property('DLQ_REASON') ?? '-',
  bornMs: message.bornTimestamp,
  deadMs: message.storeTimestamp,
})
