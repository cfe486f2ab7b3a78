// A way into the broker, as `pub` and `sub` see it: the native protocol, MQTT or AMQP. The same
// message goes in and comes out by each, as far as the protocol can say it.
import { BrokerError } from '../../errors.ts'
import { ACCESS_KEY_ENV, PASSWORD_ENV, SECRET_KEY_ENV } from '../../settings.ts'
import type { Flags, FlagValues, Invocation } from '../command.ts'
import { connectionFlags } from '../connection.ts'

export const legFlags = {
  ...connectionFlags,
  'access-key': {
    type: 'text',
    describe:
      `User name, with the secret key in ${SECRET_KEY_ENV}, over MQTT and AMQP with the password in ` +
      `${PASSWORD_ENV} (default: ${ACCESS_KEY_ENV}).`,
  },
  via: {
    type: 'text',
    choices: ['native', 'mqtt', 'amqp'],
    describe: "Protocol to speak (default: native, which is RocketMQ's).",
  },
  at: {
    type: 'text',
    value: 'host:port',
    describe: 'With --via mqtt or amqp: where (default: 127.0.0.1:1883 or 127.0.0.1:5672).',
  },
  timeout: {
    type: 'text',
    value: 'time',
    describe: 'Give up when an answer does not come for this long (default: 10s).',
  },
} as const satisfies Flags

export type LegAround = Pick<Invocation, 'env' | 'signal' | 'terminal'> & {
  readonly flags: FlagValues<typeof legFlags>
}

/** A message to be sent. */
export interface Letter {
  readonly topic: string
  readonly body: string | Uint8Array
  readonly tag: string | undefined
  readonly keys: readonly string[]
  readonly properties: Readonly<Record<string, string>>
  readonly orderingKey: string | undefined
  readonly delayMs: number | undefined
}

/** The fields of a message that every protocol can show. */
export interface ShownMessage {
  readonly topic: string
  readonly tag: string | undefined
  readonly keys: readonly string[]
  readonly orderingKey: string | undefined
  readonly properties: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** MQTT: the topic's retained message, which was there before. */
  readonly isRetained?: boolean
}

/** A message that came. */
export interface Arrival extends ShownMessage {
  /** The fields that only this protocol has: ids, positions. */
  readonly details: Readonly<Record<string, string | number | boolean>>
  /** It was shown: the group need not see it again. */
  settle(): Promise<void>
}

export interface Wish {
  readonly topic: string
  readonly tags: string | undefined
  readonly sql: string | undefined
  /** undefined: every message is read, without a consumer group. */
  readonly group: string | undefined
  readonly from: 'first' | 'last' | undefined
  /** Progress for a user that waits. */
  note(text: string): void
}

/** Takes the broker's answer to a message, by its place among those sent together. */
export type Accepted = (at: number, answer: Readonly<Record<string, string | number>>) => void

export interface Leg {
  /**
   * In order, and behind those of the call before. Rejects when one was not accepted; others may
   * have been.
   */
  publish(letters: readonly Letter[], accepted: Accepted): Promise<void>
  /** Ends when the signal is aborted. */
  arrivals(wish: Wish, signal: AbortSignal): AsyncIterable<Arrival>
  close(): Promise<void>
}

/** Settles when each has its answer. @throws the first refusal, with how many there are */
export async function allAccepted(sent: readonly Promise<unknown>[]): Promise<void> {
  const answers = await Promise.allSettled(sent)
  const refusals = answers.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  if (refusals.length === 0) return
  if (sent.length === 1) throw refusals[0]
  const { code, message } = BrokerError.from(refusals[0])
  const text = `${refusals.length} of ${sent.length} messages were not accepted; the first: ${message}`
  throw new BrokerError(code, text)
}

/** Runs once when the signal is aborted, at once when it is already. */
export function whenAborted(signal: AbortSignal, run: () => void): void {
  if (signal.aborted) run()
  else signal.addEventListener('abort', run, { once: true })
}

/** The broker answers and does not take the user name and password, or wants some. */
export const notLetIn = (peer: string, text: string, cause: unknown): BrokerError =>
  new BrokerError(
    'UNAUTHENTICATED',
    `${peer} does not let this user in (${text}); name the user with --access-key or ${ACCESS_KEY_ENV}, ` +
      `and ${PASSWORD_ENV}`,
    { cause },
  )
