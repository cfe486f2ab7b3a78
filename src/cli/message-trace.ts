// trivet message trace: what clients told of one message.
import { BrokerError } from '../errors.ts'
import { Away } from './away.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { instant, visible } from './words.ts'

export const trace = command({
  summary: 'Show what clients told of a message: when it was sent and consumed',
  details:
    "RocketMQ's clients tell it with message trace enabled, some seconds later, in the topic RMQ_SYS_TRACE_TOPIC; reading that takes an admin.",
  positionals: [{ name: 'id', describe: "The sender's id of the message, as pub prints it." }],
  flags: {
    ...connectionFlags,
    'trace-topic': {
      type: 'text',
      describe: 'Where the clients write (default: RMQ_SYS_TRACE_TOPIC).',
    },
    json: { type: 'boolean', describe: 'Print one JSON object per event.' },
  },
  examples: ['trivet message trace C0A8000200005A4D666E20C7BEA40001'],
  async run({ args, flags, env, signal, terminal }) {
    const [id = ''] = args
    const away = new Away()
    const { missing } = away
    const traceTopic = flags['trace-topic']
    const events = await withClient({ flags, env, signal }, (client) =>
      client.admin.messages.trace(id, { traceTopic, signal, missing }),
    )
    away.tell(terminal)
    if (events.length === 0) {
      const text = `no client told of ${id}: message trace has to be enabled where it is sent and consumed`
      throw away.error ?? new BrokerError('MESSAGE_NOT_FOUND', text)
    }
    if (flags.json) {
      for (const event of events) terminal.json(event)
      return
    }
    terminal.table(
      ['WHEN', 'WHAT', 'GROUP', 'CLIENT', 'TOOK', 'RESULT'],
      events.map((event) => [
        instant(event.timestampMs ?? 0),
        event.kind,
        visible(event.group),
        event.clientHost,
        event.costMs === undefined ? '-' : `${event.costMs} ms`,
        event.succeeded === undefined ? '-' : event.succeeded ? 'done' : 'failed',
      ]),
    )
  },
})
