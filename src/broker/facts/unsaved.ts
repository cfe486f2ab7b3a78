// Definitions that were made by their first use and that the store did not take: while it is
// read-only they are there for consuming, and are written once it takes them. Bounded, for their
// names come from the wire.
import { BrokerError, ifNotStored } from '../../errors.ts'

const UNSAVED_MAX = 1024

export class Unsaved<T> {
  readonly #waiting = new Set<T>()
  readonly #save: (definition: T) => Promise<void>

  constructor(save: (definition: T) => Promise<void>) {
    this.#save = save
  }

  /** Writes it now, or when the store takes it. @throws READ_ONLY when too many wait already */
  async saveOrKeep(definition: T): Promise<void> {
    try {
      // Nothing is acknowledged by it: one that the log has is there to be used.
      await this.#save(definition).catch(ifNotStored)
      this.#waiting.delete(definition)
    } catch (error) {
      const isKept = this.#waiting.has(definition) || this.#waiting.size < UNSAVED_MAX
      if (BrokerError.from(error).code !== 'READ_ONLY' || !isKept) throw error
      this.#waiting.add(definition)
    }
  }

  /** It was deleted. */
  forget(definition: T): void {
    this.#waiting.delete(definition)
  }

  /** The store takes writes again. Never rejects: what fails waits on. */
  async saveAll(): Promise<void> {
    for (const definition of [...this.#waiting]) {
      if (this.#waiting.has(definition)) await this.saveOrKeep(definition).catch(() => {})
    }
  }
}
