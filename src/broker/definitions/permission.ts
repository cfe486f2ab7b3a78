// What clients may do with the broker as a whole, whatever the permission of a topic: an operator
// takes its writing away and lets consumers finish what it has. Kept over restarts.
import { BrokerError } from '../../errors.ts'
import { PERM_READ, PERM_READ_WRITE, PERM_WRITE } from '../../model/topic.ts'
import type { MessageStore } from '../../store/store.ts'
import { FACT, type FactWriter } from '../facts/fact-writer.ts'

const KEY = 'permission'
const PERMISSIONS: ReadonlySet<number> = new Set([PERM_WRITE, PERM_READ, PERM_READ_WRITE])

export class BrokerPermission {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #brokerName: string
  readonly #watchers = new Set<() => void>()
  #perm: number
  /** Changes one after the other: the last one asked for holds. */
  #setting: Promise<void> = Promise.resolve()

  constructor(store: MessageStore, facts: FactWriter, brokerName: string) {
    this.#store = store
    this.#facts = facts
    this.#brokerName = brokerName
    this.#perm = this.#stored
  }

  get #stored(): number {
    return Number(this.#store.fact(FACT.broker, KEY)?.toString() ?? PERM_READ_WRITE)
  }

  /** What the log says, which another broker may have written. */
  follow(): void {
    this.#perm = this.#stored
    for (const changed of this.#watchers) changed()
  }

  get perm(): number {
    return this.#perm
  }

  get isWritable(): boolean {
    return (this.#perm & PERM_WRITE) !== 0
  }

  /** @throws PERMISSION_DENIED */
  checkReadable(): void {
    if ((this.#perm & PERM_READ) === 0) throw this.#forbidden('pulling')
  }

  /** In the words of Apache's broker. */
  get notWritable(): BrokerError {
    return this.#forbidden('sending')
  }

  /** @throws ARGUMENT_INVALID, READ_ONLY */
  set(perm: number): Promise<void> {
    const set = () => this.#set(perm)
    this.#setting = this.#setting.then(set, set)
    return this.#setting
  }

  async #set(perm: number): Promise<void> {
    if (!PERMISSIONS.has(perm)) {
      const text = `${perm} is no permission; 2 is to write, 4 to read and 6 is both`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    if (perm === this.#perm) return
    await this.#facts.write([{ kind: FACT.broker, key: KEY, value: Buffer.from(String(perm)) }])
    this.#perm = perm
    for (const changed of this.#watchers) changed()
  }

  watch(changed: () => void): Disposable {
    this.#watchers.add(changed)
    return { [Symbol.dispose]: () => void this.#watchers.delete(changed) }
  }

  #forbidden(what: string): BrokerError {
    const text = `the broker[${this.#brokerName}] ${what} message is forbidden`
    return new BrokerError('PERMISSION_DENIED', text)
  }
}
