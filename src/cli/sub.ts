// trivet sub: show messages as they come, until Ctrl-C.
import { BrokerError } from '../errors.ts'
import { command } from './command.ts'
import { messageJson, messageLine } from './message-text.ts'
import { type Arrival, type LegAround, legFlags, type Wish } from './wire/leg.ts'
import { openLeg } from './wire/open-leg.ts'

export const sub = command({
  summary: 'Show messages of a topic as they come',
  details:
    'Without a group every message is shown and nothing is remembered. The members of a group share\n' +
    'its messages, and the group goes on where it stopped. Ends at Ctrl-C with exit code 0. When the broker\n' +
    'is lost it waits for it over the native protocol, and ends with exit code 1 over MQTT and AMQP.\n' +
    'Over MQTT retained messages come first, by the names of their topics, and are marked.',
  positionals: [{ name: 'topic', describe: 'Topic to read.' }],
  flags: {
    ...legFlags,
    group: { type: 'text', short: 'g', describe: 'Consume as a member of this group.' },
    broadcast: { type: 'boolean', describe: 'Show every message; the same as no group.' },
    tags: { type: 'text', value: 'expression', describe: "Only these tags: 'paid || sent'." },
    sql: {
      type: 'text',
      value: 'condition',
      describe: 'Only messages whose properties meet it: "price > 10 AND region = \'eu\'".',
    },
    from: {
      type: 'text',
      choices: ['first', 'last'],
      describe: 'Where to start, unless the group has been here before (default: last).',
    },
    count: { type: 'number', short: 'c', describe: 'End after this many.' },
    raw: { type: 'boolean', describe: 'Print the bodies alone.' },
    json: { type: 'boolean', describe: 'Print one JSON object per message.' },
  },
  examples: [
    'trivet sub orders',
    "trivet sub orders --group billing --tags 'paid || sent'",
    'trivet sub orders --sql "price > 10 AND region = \'eu\'"',
    'trivet sub orders --from first --count 10 --json',
    'trivet sub orders --via amqp',
  ],
  async run(invocation) {
    const { args, flags, terminal, signal } = invocation
    if (flags.tags !== undefined && flags.sql !== undefined) {
      throw new BrokerError('ARGUMENT_INVALID', '--tags and --sql exclude each other')
    }
    if (flags.broadcast && flags.group !== undefined) {
      throw new BrokerError('ARGUMENT_INVALID', '--broadcast and --group exclude each other')
    }
    const show = async (message: Arrival): Promise<void> => {
      if (flags.raw) await terminal.write(Buffer.concat([message.body, NEW_LINE]))
      else if (flags.json) terminal.json(messageJson(message, message.details))
      else terminal.print(messageLine(message))
    }
    const wish = {
      topic: args[0] ?? '',
      tags: flags.tags,
      sql: flags.sql,
      group: flags.group,
      from: flags.from as 'first' | 'last' | undefined,
      note: (text: string) => terminal.note(`trivet: ${text}`),
    }
    try {
      await showAll(invocation, wish, flags.count ?? Number.POSITIVE_INFINITY, show)
    } catch (error) {
      // Ctrl-C is how it ends, also before it has begun.
      if (!signal.aborted) throw error
    }
  },
})

async function showAll(
  around: LegAround,
  wish: Wish,
  count: number,
  show: (message: Arrival) => Promise<void>,
): Promise<void> {
  const leg = await openLeg(around)
  try {
    let left = count
    for await (const message of leg.arrivals(wish, around.signal)) {
      await show(message)
      await message.settle()
      if (--left <= 0) break
    }
  } finally {
    await leg.close()
  }
}

const NEW_LINE = Buffer.from('\n')
