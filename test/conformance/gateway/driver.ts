// What the suite over the front-ends needs of each: a gateway to open, a client of its protocol
// with one vocabulary for all of them, and bytes, right and wrong.
import type { ExecutionContext } from 'ava'
import type { ErrorCode } from '../../../src/errors.ts'
import type { Gateway, GatewayContext } from '../../../src/port/gateway.ts'
import type { Random } from '../../support/random.ts'

/** What became of a message that was sent; 'unanswered': its connection ended before. */
export type Verdict = 'accepted' | 'refused' | 'unanswered'

/** What a message has besides its body, in every protocol that can say it. */
export interface Labels {
  readonly tag?: string
  readonly key?: string
  readonly properties?: Readonly<Record<string, string>>
}

/** How a message may be handed back; not every protocol has a word for each. */
export type Outcome = 'retry' | 'release' | 'reject'

export interface Delivery {
  readonly body: Buffer
  readonly labels: Labels
  /** It is done. */
  accept(): Promise<void>
  /** It failed and is to come again. */
  retry?(): Promise<void>
  /** It is to come again, and has not failed. */
  release?(): Promise<void>
  /** It is never to come again. */
  reject?(): Promise<void>
}

export interface Reader {
  /** The next message. @throws when the connection ends */
  take(): Promise<Delivery>
}

/** Logged in and served. */
export interface Client {
  send(topic: string, body: Buffer | string, labels?: Labels): Promise<Verdict>
  /** The messages of a topic's first queue as a member of a group. @throws when that is refused */
  reader(topic: string, group: string): Promise<Reader>
  /** Settles when the server has read what was sent before. */
  ping(): Promise<void>
  /** In order. */
  leave(): Promise<void>
  /** Without a word. */
  cut(): void
  /** How the connection ended, once it has: the server's goodbye, or 'no word'. */
  readonly ended: Promise<string>
}

export interface Login {
  readonly user: string
  readonly password: string
}

/** Bytes for a peer that has introduced itself, and words that the server ends with. */
export interface Fault {
  readonly what: string
  readonly bytes: Buffer
  readonly says: Buffer | string
}

export interface Driver {
  readonly name: string
  /** With bounds that a test can reach, and no pauses. */
  gateway(context: GatewayContext): Gateway & { open?(): Promise<void> }
  /** @throws when the server refuses the login */
  connect(t: ExecutionContext, port: number, login?: Login): Promise<Client>
  /** The labels that its messages can have. */
  readonly says: readonly (keyof Labels)[]
  /** The outcomes that its deliveries have. */
  readonly outcomes: readonly Outcome[]
  /** The server's goodbye to a client when it stops. */
  readonly goodbye: string
  /** The first bytes of a peer, up to where the server serves it; the plainest first. */
  readonly hellos: readonly [Buffer, ...Buffer[]]
  /** What a peer may say behind that. */
  readonly frames: readonly Buffer[]
  /** One that is framed rightly, with anything in it. */
  randomFrame(random: Random): Buffer
  readonly overLimit: readonly Fault[]
  /** A peer, introduced, that asks for all messages of the topic, `count` in its first queue. */
  greedy(topic: string, count: number): Buffer
  /** Are messages acknowledged that are refused for good, for want of a word? */
  acknowledges(refusal: ErrorCode): boolean
}
