// The topics that names and filters can mean, as last known.
import { isMqttAddressable } from '../model/routing-name.ts'
import type { Broker } from '../port/broker.ts'
import { AEDES_TOPIC } from './message.ts'

export class TopicNames {
  readonly #broker: Broker
  readonly #changed: (topic: string, isThere: boolean) => void
  #names = new Set<string>()
  #watch: Disposable | undefined

  constructor(broker: Broker, changed: (topic: string, isThere: boolean) => void) {
    this.#broker = broker
    this.#changed = changed
  }

  get all(): ReadonlySet<string> {
    return this.#names
  }

  async open(): Promise<void> {
    this.#watch = this.#broker.topics.watch((topic) => void this.#look(topic).catch(() => {}))
    for (const { name } of await this.#broker.topics.list()) {
      if (isOpen(name)) this.#names.add(name)
    }
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  async #look(topic: string): Promise<void> {
    const isThere = (await this.#broker.topics.get(topic)) !== undefined
    if (isOpen(topic)) {
      if (isThere) this.#names.add(topic)
      else this.#names.delete(topic)
    }
    this.#changed(topic, isThere)
  }
}

const isOpen = (name: string): boolean => name !== AEDES_TOPIC && isMqttAddressable(name)
