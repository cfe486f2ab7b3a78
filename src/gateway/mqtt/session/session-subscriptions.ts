// The subscriptions of one session by their texts, and what is asked of all of them at once.
import { PART_SUBSCRIPTIONS_MAX, SubscriptionParts } from './subscription-parts.ts'
import type { Subscription } from './subscriptions.ts'

export class SessionSubscriptions {
  readonly #all = new Map<string, Subscription>()
  /** Once there are more than one part has. */
  #parts: SubscriptionParts | undefined
  /** How many shared ones read a queue of the session's own, by filter. */
  #sharing: Map<string, number> | undefined
  #noLocal = 0

  get size(): number {
    return this.#all.size
  }

  /** undefined: all of them are saved with the session. */
  get parts(): SubscriptionParts | undefined {
    return this.#parts
  }

  /** Does any of them not want the client's own messages back? */
  get hasNoLocal(): boolean {
    return this.#noLocal > 0
  }

  get(text: string): Subscription | undefined {
    return this.#all.get(text)
  }

  keys(): Iterable<string> {
    return this.#all.keys()
  }

  values(): Iterable<Subscription> {
    return this.#all.values()
  }

  /** Takes the place of the one that has the text. */
  set(subscription: Subscription): void {
    const { text } = subscription
    const isNew = !this.#all.has(text)
    this.#put(subscription)
    if (this.#parts === undefined) {
      if (this.#all.size > PART_SUBSCRIPTIONS_MAX) this.#divide()
    } else if (isNew) this.#parts.add(text)
    else this.#parts.change(text)
  }

  /** As it was saved with a part. */
  restore(subscription: Subscription, part: number): void {
    this.#put(subscription)
    this.#parts ??= new SubscriptionParts()
    this.#parts.restore(subscription.text, part)
  }

  /** It has got on. */
  moved({ text }: Subscription): void {
    this.#parts?.change(text)
  }

  delete(text: string): void {
    const subscription = this.#all.get(text)
    if (subscription === undefined) return
    this.#all.delete(text)
    this.#count(subscription, -1)
    this.#parts?.delete(text)
  }

  /** Does one besides `reader` read the session's own queue of the filter? */
  isRead(filter: string, reader: Subscription | undefined): boolean {
    const ordinary = this.#all.get(filter)
    if (ordinary !== undefined && ordinary !== reader && isOwnReader(ordinary)) return true
    const sharing = this.#sharing?.get(filter) ?? 0
    const isOneOfThem = reader !== undefined && isSharing(reader) && reader.filter === filter
    return sharing > (isOneOfThem ? 1 : 0)
  }

  #put(subscription: Subscription): void {
    const old = this.#all.get(subscription.text)
    if (old !== undefined) this.#count(old, -1)
    this.#all.set(subscription.text, subscription)
    this.#count(subscription, 1)
  }

  #count(subscription: Subscription, by: number): void {
    if (subscription.noLocal) this.#noLocal += by
    if (!isSharing(subscription)) return
    this.#sharing ??= new Map()
    const count = (this.#sharing.get(subscription.filter) ?? 0) + by
    if (count > 0) this.#sharing.set(subscription.filter, count)
    else this.#sharing.delete(subscription.filter)
  }

  #divide(): void {
    this.#parts = new SubscriptionParts()
    for (const text of this.#all.keys()) this.#parts.add(text)
  }
}

const isOwnReader = ({ bound, places }: Subscription): boolean =>
  bound === 'owned' && places.length > 0

const isSharing = (subscription: Subscription): boolean =>
  subscription.share !== undefined && isOwnReader(subscription)
