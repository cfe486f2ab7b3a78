// The name server's key-value space, by namespace; in memory, written by mqadmin to every name
// server.
import { BrokerError } from '../errors.ts'

const ENTRIES_MAX = 10_000
/** Of all entries together: namespace, key and value. */
const CHARS_MAX = 16 * 1024 * 1024

export class KeyValues {
  readonly #namespaces = new Map<string, Map<string, string>>()
  #entries = 0
  #chars = 0

  /** @throws BrokerError QUOTA_EXCEEDED */
  put(namespace: string, key: string, value: string): void {
    const entries = this.#namespaces.get(namespace) ?? new Map<string, string>()
    const before = entries.get(key)
    const isNew = before === undefined
    const chars = charsOf(namespace, key, value) - (isNew ? 0 : charsOf(namespace, key, before))
    if (isNew && this.#entries >= ENTRIES_MAX) {
      throw quotaExceeded(`the name server holds ${ENTRIES_MAX} values already`)
    }
    if (this.#chars + chars > CHARS_MAX) {
      throw quotaExceeded(`the values of the name server would have over ${CHARS_MAX} characters`)
    }
    if (isNew) this.#entries++
    this.#chars += chars
    this.#namespaces.set(namespace, entries.set(key, value))
  }

  get(namespace: string, key: string): string | undefined {
    return this.#namespaces.get(namespace)?.get(key)
  }

  delete(namespace: string, key: string): void {
    const entries = this.#namespaces.get(namespace)
    const value = entries?.get(key)
    if (entries === undefined || value === undefined) return
    entries.delete(key)
    this.#entries--
    this.#chars -= charsOf(namespace, key, value)
    if (entries.size === 0) this.#namespaces.delete(namespace)
  }

  /** undefined when the namespace is empty. */
  list(namespace: string): ReadonlyMap<string, string> | undefined {
    return this.#namespaces.get(namespace)
  }
}

const charsOf = (namespace: string, key: string, value: string): number =>
  namespace.length + key.length + value.length

const quotaExceeded = (text: string): BrokerError => new BrokerError('QUOTA_EXCEEDED', text)
