// Contexts of deliveries that go by names: POP settles by words, which keep nothing alive.
import type { SpanContext } from '@opentelemetry/api'
import type { PopDelivery } from '../model/message.ts'

/** Deliveries that are remembered; the oldest are forgotten, and are settled without a span. */
const CONTEXTS_MAX = 10_000

export class PopContexts {
  readonly #byName = new Map<string, SpanContext>()

  add(delivery: Omit<PopDelivery, 'offsets'>, offset: number, context: SpanContext): void {
    this.#byName.set(nameOf(delivery, offset), context)
    if (this.#byName.size <= CONTEXTS_MAX) return
    const [oldest] = this.#byName.keys()
    this.#byName.delete(oldest!)
  }

  take(delivery: PopDelivery): readonly SpanContext[] {
    if (this.#byName.size === 0) return []
    return delivery.offsets.flatMap((offset) => {
      const name = nameOf(delivery, offset)
      const context = this.#byName.get(name)
      this.#byName.delete(name)
      return context ?? []
    })
  }
}

const nameOf = (
  { group, topic, queueId, poppedAt }: Omit<PopDelivery, 'offsets'>,
  offset: number,
): string => `${group}\n${topic}\n${queueId}\n${poppedAt}\n${offset}`
