// The open parts of a server, in the order they were opened; closed backwards, whichever close
// fails.
import type { Logger } from './log.ts'

export class Parts {
  readonly #log: Logger
  readonly #open: { readonly name: string; readonly close: () => Promise<void> }[] = []
  #closing: Promise<void> | undefined

  constructor(log: Logger) {
    this.#log = log
  }

  add(name: string, close: () => Promise<void>): void {
    this.#open.push({ name, close })
  }

  /**
   * Idempotent, and never rejects: a part that fails is logged, and the next one closes all the
   * same.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll()
    return this.#closing
  }

  async #closeAll(): Promise<void> {
    for (const part of this.#open.reverse()) {
      try {
        await part.close()
      } catch (error) {
        const fields = { evt: 'server.stop_failed', part: part.name, err: error }
        this.#log.error(fields, `${part.name} did not stop in order`)
      }
    }
  }
}
