// trivet pub: send messages and say where they went.
import { addAbortSignal } from 'node:stream'
import { BrokerError } from '../errors.ts'
import { BODY_BYTES_MAX } from '../model/limits.ts'
import { command } from './command.ts'
import { type Leg, type Letter, legFlags } from './leg.ts'
import { openLeg } from './open-leg.ts'
import { durationMs } from './words.ts'

/** Sends under way at the same time. */
const CONCURRENCY = 64

export const pub = command({
  summary: 'Send a message',
  details:
    "A body of '-' is read from standard input. In a body, {n} becomes the number of the message.\n" +
    'Prints the id of each message, or one JSON object per message.',
  positionals: [
    { name: 'topic', describe: 'Topic to send to.' },
    { name: 'body', describe: "Text of the message, or '-' for standard input." },
  ],
  flags: {
    ...legFlags,
    tag: { type: 'text', short: 't', describe: 'Tag, by which consumers choose.' },
    key: { type: 'text', short: 'k', many: true, describe: 'Key, by which it can be looked up.' },
    property: {
      type: 'text',
      short: 'p',
      value: 'name=value',
      many: true,
      describe: 'Property of your own.',
    },
    'ordering-key': { type: 'text', describe: 'Messages of one key stay in order.' },
    delay: { type: 'text', value: 'time', describe: 'Deliver later: 500ms, 10s, 5m, 2h.' },
    count: { type: 'number', short: 'c', describe: 'Send this many (default: 1).' },
    json: { type: 'boolean', describe: 'Print one JSON object per message.' },
  },
  examples: [
    "trivet pub orders 'hello' --tag paid --key order-1",
    "trivet pub orders 'hello {n}' --count 1000",
    "trivet pub orders 'hello' --via mqtt",
    'trivet pub documents - < letter.pdf',
  ],
  async run(invocation) {
    const { args, flags, terminal, signal } = invocation
    const [topic = '', text = ''] = args
    const count = flags.count ?? 1
    if (!Number.isInteger(count) || count < 1) {
      throw new BrokerError('ARGUMENT_INVALID', `--count is ${count}; a number from 1 on is due`)
    }
    const body = text === '-' ? await readInput(signal) : text
    const letter: Letter = {
      topic,
      body,
      tag: flags.tag,
      keys: flags.key,
      properties: Object.fromEntries(flags.property.map(nameAndValue)),
      orderingKey: flags['ordering-key'],
      delayMs: flags.delay === undefined ? undefined : durationMs('--delay', flags.delay),
    }
    const leg = await openLeg(invocation)
    try {
      await sendAll(leg, letter, count, signal, (answer) => {
        if (flags.json) terminal.json(answer)
        else terminal.print(lineOf(answer))
      })
    } finally {
      await leg.close()
    }
  },
})

/** In order of the numbers; answers are told in this order too. */
async function sendAll(
  leg: Leg,
  letter: Letter,
  count: number,
  signal: AbortSignal,
  tell: (answer: Readonly<Record<string, string | number>>) => void,
): Promise<void> {
  for (let from = 0; from < count; from += CONCURRENCY) {
    signal.throwIfAborted()
    const some = Array.from({ length: Math.min(CONCURRENCY, count - from) }, (_, i) =>
      leg.publish({ ...letter, body: numbered(letter.body, from + i + 1) }),
    )
    for (const answer of await Promise.all(some)) tell(answer)
  }
}

const numbered = (body: string | Uint8Array, n: number): string | Uint8Array =>
  typeof body === 'string' ? body.replaceAll('{n}', String(n)) : body

function lineOf(answer: Readonly<Record<string, string | number>>): string {
  const { messageId, topic, queueId, queueOffset } = answer
  if (messageId === undefined) return `accepted for ${topic}`
  return `${messageId}  ${topic}/${queueId}@${queueOffset}`
}

function nameAndValue(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new BrokerError('ARGUMENT_INVALID', `--property is '${text}'; write name=value`)
}

/** No protocol takes more than the limit, so no more of it is kept. */
async function readInput(signal: AbortSignal): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of addAbortSignal(signal, process.stdin)) {
    chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes > BODY_BYTES_MAX) {
      throw new BrokerError(
        'MESSAGE_TOO_LARGE',
        `standard input has more than ${BODY_BYTES_MAX} bytes, which is the most a body may have; ` +
          'send a reference to the content instead',
      )
    }
  }
  return Buffer.concat(chunks)
}
