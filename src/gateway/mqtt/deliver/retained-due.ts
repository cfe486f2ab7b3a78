// The retained messages that a session is still to be sent: which subscriptions asked for theirs,
// and how far each got. Only a few names are at hand at a time; the rest is the session's, so that
// what a lost connection did not bring comes with the next one.
import type { SharedSlice } from '../../../clock.ts'
import type { Retained } from '../publish/retained.ts'
import type { Session } from '../session/session.ts'

const NOTHING = { names: [], seenTo: undefined }

/** The next names of one subscription. */
export interface DueNames {
  /** The subscription's text. */
  readonly text: string
  readonly names: readonly string[]
}

export class RetainedDue {
  readonly #retained: Pick<Retained, 'matching'>
  /** Filters are looked through within it: one with wildcards may pass all names by. */
  readonly #looks: SharedSlice
  readonly #session: Session
  /** The names being read; undefined when they are not wanted any more. */
  #asked: DueNames | undefined

  constructor(retained: Pick<Retained, 'matching'>, looks: SharedSlice, session: Session) {
    this.#retained = retained
    this.#looks = looks
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

  /**
   * At most `max` names; undefined when nothing is due any more, or, if it is not empty, in another
   * turn.
   */
  next(max: number): DueNames | undefined {
    const { retainedDue, subscriptions } = this.#session
    for (const [text, after] of retainedDue) {
      const filter = subscriptions.get(text)?.filter
      const found = filter === undefined ? NOTHING : this.#retained.matching(filter, after, max)
      const { names, seenTo } = found
      if (names.length > 0) {
        this.#asked = { text, names }
        return this.#asked
      }
      if (seenTo !== undefined) {
        retainedDue.set(text, seenTo)
        break
      }
      retainedDue.delete(text)
      if (this.#looks.isOver) break
    }
    return undefined
  }

  /**
   * The first `count` of the names, at least one, are about to be sent. False: they are not due any
   * more.
   */
  advance(due: DueNames, count: number): boolean {
    // The filter was subscribed again, which begins anew, or unsubscribed.
    if (due !== this.#asked || !this.#session.retainedDue.has(due.text)) return false
    this.#session.retainedDue.set(due.text, due.names[count - 1]!)
    return true
  }
}
