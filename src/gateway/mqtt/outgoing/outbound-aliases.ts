// Topic aliases towards one MQTT 5 client: the first topics it is sent get one each, up to the
// number the client allows, and are then sent as two bytes.

export const NO_ALIAS = 0

export class OutboundAliases {
  readonly #max: number
  /** Once there is one: most clients take none. */
  #byTopic: Map<string, number> | undefined

  constructor(max: number) {
    this.#max = max
  }

  get isUsed(): boolean {
    return this.#max > 0
  }

  /** The topic's alias if the client knows it already. */
  known(topic: string): number {
    return this.#byTopic?.get(topic) ?? NO_ALIAS
  }

  /** A new alias for the topic, to be sent along with it; none when all are given. */
  give(topic: string): number {
    if (this.#max === 0) return NO_ALIAS
    this.#byTopic ??= new Map()
    if (this.#byTopic.size >= this.#max) return NO_ALIAS
    const alias = this.#byTopic.size + 1
    this.#byTopic.set(topic, alias)
    return alias
  }
}
