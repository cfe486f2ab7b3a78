// trivet pub: send messages and say where they went.
import { BrokerError } from '../errors.ts'
import { command } from './command.ts'
import { readAll, readLines } from './standard-input.ts'
import { type Accepted, type Leg, type Letter, legFlags } from './wire/leg.ts'
import { openLeg } from './wire/open-leg.ts'
import { durationMs } from './words.ts'

type Answer = Parameters<Accepted>[1]

/** Messages that are sent together. */
const BATCH_MAX = 64

export const pub = command({
  summary: 'Send a message',
  details:
    "A body of '-' is read from standard input, with --lines a message of each line. In a body, {n}\n" +
    'becomes the number of the message. The messages of one command stay in order, in one queue of the\n' +
    'topic. Prints the id of each message that was accepted, or one JSON object. When one is refused, others\n' +
    'of the up to 64 that are sent together may be accepted; later ones are not sent. The exit code is 1.',
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
    lines: { type: 'boolean', describe: "With a body of '-': a message of each line." },
    json: { type: 'boolean', describe: 'Print one JSON object per message.' },
  },
  examples: [
    "trivet pub orders 'hello' --tag paid --key order-1",
    "trivet pub orders 'hello {n}' --count 1000",
    "trivet pub orders 'hello' --via mqtt",
    'trivet pub documents - < letter.pdf',
    'tail -f access.log | trivet pub accesses - --lines',
  ],
  async run(invocation) {
    const { args, flags, terminal, signal } = invocation
    const [topic = '', text = ''] = args
    const count = flags.count ?? 1
    if (!Number.isInteger(count) || count < 1) {
      throw new BrokerError('ARGUMENT_INVALID', `--count is ${count}; a number from 1 on is due`)
    }
    const isInput = text === '-'
    if (flags.lines && (!isInput || flags.count !== undefined)) {
      throw new BrokerError('ARGUMENT_INVALID', "--lines goes with a body of '-', without --count")
    }
    const letter: Letter = {
      topic,
      body: isInput && !flags.lines ? await readAll(signal) : text,
      tag: flags.tag,
      keys: flags.key,
      properties: Object.fromEntries(flags.property.map(nameAndValue)),
      orderingKey: flags['ordering-key'],
      delayMs: flags.delay === undefined ? undefined : durationMs('--delay', flags.delay),
    }
    const leg = await openLeg(invocation)
    const batches = flags.lines
      ? oneOfEachLine(letter, signal)
      : numberedCopies(letter, count, signal)
    try {
      await sendAll(leg, batches, (answer) => {
        if (flags.json) terminal.json(answer)
        else terminal.print(lineOf(answer))
      })
    } finally {
      await leg.close()
    }
  },
})

/**
 * In order: a later message is sent when the one before is accepted. What was accepted is told
 * in any case, also when others of those that were sent together were not.
 */
async function sendAll(
  leg: Leg,
  batches: AsyncIterable<readonly Letter[]>,
  tell: (answer: Answer) => void,
): Promise<void> {
  for await (const letters of batches) {
    const answers: (Answer | undefined)[] = []
    try {
      await leg.publish(letters, (at, answer) => {
        answers[at] = answer
      })
    } finally {
      for (const answer of answers) if (answer !== undefined) tell(answer)
    }
  }
}

async function* numberedCopies(
  letter: Letter,
  count: number,
  signal: AbortSignal,
): AsyncGenerator<readonly Letter[]> {
  for (let from = 0; from < count; from += BATCH_MAX) {
    signal.throwIfAborted()
    yield Array.from({ length: Math.min(BATCH_MAX, count - from) }, (_, i) => ({
      ...letter,
      body: numbered(letter.body, from + i + 1),
    }))
  }
}

async function* oneOfEachLine(
  letter: Letter,
  signal: AbortSignal,
): AsyncGenerator<readonly Letter[]> {
  for await (const lines of readLines(signal, BATCH_MAX)) {
    yield lines.map((body) => ({ ...letter, body }))
  }
}

const numbered = (body: string | Uint8Array, n: number): string | Uint8Array =>
  typeof body === 'string' ? body.replaceAll('{n}', String(n)) : body

function lineOf(answer: Answer): string {
  const { messageId, topic, queueId, queueOffset } = answer
  if (messageId === undefined) return `accepted for ${topic}`
  return `${messageId}  ${topic}/${queueId}@${queueOffset}`
}

function nameAndValue(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new BrokerError('ARGUMENT_INVALID', `--property is '${text}'; write name=value`)
}
