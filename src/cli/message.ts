// trivet message: stored messages, found by id or by key.
import type { Client, Message } from '../client/index.ts'
import { BrokerError } from '../errors.ts'
import { Away } from './away.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { messageJson, messageLine } from './message-text.ts'
import { shownOf } from './wire/native-leg.ts'
import { instant, visible } from './words.ts'

export const get = command({
  summary: 'Find stored messages by id or by key',
  details:
    'An id is the one that pub prints (give its --topic too), or the one that says where it is stored.',
  flags: {
    ...connectionFlags,
    id: { type: 'text', describe: 'Id of the message.' },
    key: { type: 'text', short: 'k', describe: 'Key of the messages; needs --topic.' },
    topic: { type: 'text', describe: 'Topic to look in.' },
    max: { type: 'number', describe: 'At most this many, the newest (default: 32).' },
    json: { type: 'boolean', describe: 'Print one JSON object per message.' },
  },
  examples: [
    'trivet message get --topic orders --key order-1',
    'trivet message get --topic orders --id C0A8000200005A4D666E20C7BEA40001',
  ],
  async run({ flags, env, signal, terminal }) {
    checkQuestion(flags)
    const away = new Away()
    const found = await withClient({ flags, env, signal }, (client) =>
      find(client, flags, signal, away),
    )
    away.tell(terminal)
    for (const message of found) {
      const shown = shownOf(message)
      if (flags.json) {
        terminal.json(messageJson(shown, detailsOf(message)))
        continue
      }
      terminal.print(messageLine(shown))
      for (const [name, value] of Object.entries(detailsOf(message))) {
        terminal.print(
          visible(`  ${name}: ${name.endsWith('Ms') ? instant(Number(value)) : value}`),
        )
      }
    }
  },
})

interface Question {
  readonly id: string | undefined
  readonly key: string | undefined
  readonly topic: string | undefined
  readonly max: number | undefined
}

/** Before a broker is asked anything. @throws BrokerError ARGUMENT_INVALID */
function checkQuestion({ id, key, topic }: Omit<Question, 'max'>): void {
  if ((id === undefined) === (key === undefined)) {
    throw new BrokerError('ARGUMENT_INVALID', 'say --id or --key, one of the two')
  }
  if (key !== undefined && topic === undefined) {
    throw new BrokerError('ARGUMENT_INVALID', '--key needs the --topic to look in')
  }
}

async function find(
  client: Client,
  { id, key, topic, max }: Question,
  signal: AbortSignal,
  away: Away,
): Promise<readonly Message[]> {
  const { missing } = away
  if (id !== undefined) return [await client.admin.messages.byId(id, { topic, signal, missing })]
  const found = await client.admin.messages.byKey(topic!, key!, { max }, { signal, missing })
  if (found.length > 0) return found
  if (away.error !== undefined) throw away.error
  throw new BrokerError('MESSAGE_NOT_FOUND', `no message in '${topic}' has the key '${key}'`)
}

const detailsOf = (message: Message): Record<string, string | number> => ({
  messageId: message.messageId,
  offsetMessageId: message.offsetMessageId,
  storedTopic: message.storedTopic,
  brokerName: message.brokerName,
  queueId: message.queueId,
  queueOffset: message.queueOffset,
  attempt: message.attempt,
  bornHost: message.bornHost,
  bornMs: message.bornTimestamp,
  storedMs: message.storeTimestamp,
})
