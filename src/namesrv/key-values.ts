// The name server's key-value space, by namespace; in memory, written by mqadmin to every name server.
import { BrokerError } from '../errors.ts'

const ENTRIES_MAX = 10_000

export class KeyValues {
  readonly #namespaces = new Map<string, Map<string, string>>()
  #entries = 0

  /** @throws BrokerError QUOTA_EXCEEDED */
  put(namespace: string, key: string, value: string): void {
    const entries = this.#namespaces.get(namespace) ?? new Map<string, string>()
    if (!entries.has(key)) {
      if (this.#entries >= ENTRIES_MAX) {
        throw new BrokerError(
          'QUOTA_EXCEEDED',
          `the name server holds ${ENTRIES_MAX} values already`,
        )
      }
      this.#entries++
    }
    this.#namespaces.set(namespace, entries.set(key, value))
  }

  get(namespace: string, key: string): string | undefined {
    return this.#namespaces.get(namespace)?.get(key)
  }

  delete(namespace: string, key: string): void {
    const entries = this.#namespaces.get(namespace)
    if (entries?.delete(key)) this.#entries--
    if (entries?.size === 0) this.#namespaces.delete(namespace)
  }

  /** undefined when the namespace is empty. */
  list(namespace: string): ReadonlyMap<string, string> | undefined {
    return this.#namespaces.get(namespace)
  }
}
