// The retained messages that a session is still to be sent: which subscriptions asked for theirs, and how far
// each got. Only names are at hand, those of one subscription at a time; the rest is the session's, so that
// what a lost connection did not bring comes with the next one.
import type { Retained } from './retained.ts'
import type { Session } from './session.ts'
import type { Subscription } from './subscriptions.ts'

/** One subscription's names, in their order, and where it is. */
interface Asked {
  readonly text: string
  readonly names: readonly string[]
  at: number
}

/** The next names of one subscription. */
export interface DueNames {
  /** The subscription's text. */
  readonly text: string
  readonly names: readonly string[]
  readonly asked: Asked
}

export class RetainedDue {
  readonly #retained: Retained
  readonly #session: Session
  #asked: Asked | undefined

  constructor(retained: Retained, session: Session) {
    this.#retained = retained
    this.#session = session
  }

  get isEmpty(): boolean {
    return this.#session.retainedDue.size === 0
  }

  /** All that the subscription selects, from the beginning; asking again costs no memory. */
  add(text: string): void {
    if (this.#asked?.text === text) this.#asked = undefined
    const due = this.#session.retainedDue
    due.delete(text)
    due.set(text, '')
  }

  /** At most `max` names; undefined when nothing is due any more. */
  next(max: number): DueNames | undefined {
    const { retainedDue, subscriptions } = this.#session
    for (const [text, after] of retainedDue) {
      const subscription = subscriptions.get(text)
      if (subscription !== undefined) {
        const asked = this.#of(subscription, after)
        const names = asked.names.slice(asked.at, asked.at + max)
        if (names.length > 0) return { text, names, asked }
      }
      this.#asked = undefined
      retainedDue.delete(text)
    }
    return undefined
  }

  /** The first `count` of the names, at least one, are about to be sent. False: they are not due any more. */
  advance({ text, names, asked }: DueNames, count: number): boolean {
    // Asked again meanwhile, which begins anew, or unsubscribed.
    if (asked !== this.#asked || !this.#session.retainedDue.has(text)) return false
    asked.at += count
    this.#session.retainedDue.set(text, names[count - 1]!)
    return true
  }

  #of({ text, filter }: Subscription, after: string): Asked {
    if (this.#asked?.text === text) return this.#asked
    const names = this.#retained.matching(filter).filter((name) => name > after)
    this.#asked = { text, names: names.sort(), at: 0 }
    return this.#asked
  }
}
