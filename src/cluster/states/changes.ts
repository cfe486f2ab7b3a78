// State that changes together with messages, before a cluster: there is no append of both, so the
// order is the one in which a crash costs least. State of no message goes first; that of a message
// follows once the message is stored, and both are acknowledged after it.
//
// While messages wait for their state, later ones of their keys wait behind them, and changes of
// one state are made in the order of the calls, as the port promises.
import { BrokerError } from '../../errors.ts'
import {
  ANY_QUEUE,
  type NewMessage,
  type PublishResult,
  withOwnBytes,
} from '../../model/message.ts'
import type { StateChange, StateGuard } from '../../model/state.ts'
import type { Lookup } from '../../port/broker.ts'
import type { ClusterStates } from './states.ts'

interface Parts {
  readonly states: ClusterStates
  readonly lookup: Lookup
  /** Takes the messages within the call, in the order of the calls. */
  publish(messages: readonly NewMessage[]): Promise<readonly PublishResult[]>
}

type Results = Promise<readonly PublishResult[]>

export class ChangingPublisher {
  readonly #parts: Parts
  /** By key: settles when the messages that wait have been taken. */
  readonly #held = new Map<string, Promise<void>>()
  /** By id: settles when the changes that belong to messages have been made. */
  readonly #changing = new Map<string, Promise<void>>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** As `Broker.publish`. */
  publish(messages: readonly NewMessage[], changes: readonly StateChange[]): Results {
    if (changes.length === 0 && this.#held.size === 0) return this.#parts.publish(messages)
    return this.#publish(messages, changes)
  }

  async #publish(messages: readonly NewMessage[], changes: readonly StateChange[]): Results {
    const { states } = this.#parts
    checkOrder(changes, messages.length)
    for (const change of changes) states.check(change)
    const copies = changes.map((change) =>
      change.state instanceof Uint8Array ? { ...change, state: Buffer.from(change.state) } : change,
    )
    // Both begin within the call, as the port keeps the order of the calls.
    // A message that is stored and refused for its state would be sent again, and be there twice.
    const first = copies
      .map((change) =>
        change.message === undefined
          ? make(states, change, change.state)
          : states.untilHere(change.id),
      )
      .filter((due) => due !== undefined)
    const published = this.#inTurn(messages, first)
    const changed = Promise.all(
      copies
        .filter(({ message }) => message !== undefined)
        .map((change) => this.#inOrder(change.id, () => this.#change(change, published))),
    )
    changed.catch(() => {})
    const results = await published
    await changed
    return results
  }

  /** Behind the messages of the same keys that wait, and once `first` is made. */
  #inTurn(messages: readonly NewMessage[], first: readonly Promise<void>[]): Results {
    const keys = first.length > 0 || this.#held.size > 0 ? keysOf(messages) : NO_KEYS
    const before = [...keys].map((key) => this.#held.get(key)).filter((held) => held !== undefined)
    if (first.length === 0 && before.length === 0) return this.#parts.publish(messages)
    // Bodies and properties may be views on a buffer that is reused.
    const copies = messages.map(withOwnBytes)
    let results: Results | undefined
    const ready = Promise.all([...first, ...before]).then(() => {
      results = this.#parts.publish(copies)
    })
    const taken = ready.catch(() => {})
    hold(this.#held, keys, taken)
    return ready.then(() => results!)
  }

  #inOrder(id: string, change: () => Promise<void>): Promise<void> {
    const before = this.#changing.get(id) ?? Promise.resolve()
    const changed = before.then(change)
    hold(
      this.#changing,
      [id],
      changed.catch(() => {}),
    )
    return changed
  }

  async #change(change: StateChange, published: Results): Promise<void> {
    const { states, lookup } = this.#parts
    const result = (await published)[change.message!]!
    if (result instanceof BrokerError) return
    const { brokerName, position } = result
    if (change.state !== 'message') return make(states, change, change.state)
    const record = await lookup.byPosition(brokerName, position)
    if (record === undefined) throw unread(brokerName)
    await make(states, change, record)
  }
}

const unread = (brokerName: string): BrokerError =>
  new BrokerError('UNREACHABLE', `'${brokerName}' has taken a message and does not show it`)

const NO_KEYS: ReadonlySet<string> = new Set()

/** What keeps an order: an ordering key, or a named queue. */
function keysOf(messages: readonly NewMessage[]): ReadonlySet<string> {
  const keys = new Set<string>()
  for (const { topic, orderingKey, brokerName, queueId } of messages) {
    if (orderingKey !== undefined) keys.add(`${topic}\n${orderingKey}`)
    else if (queueId !== ANY_QUEUE) keys.add(`${topic}\n\n${brokerName}\n${queueId}`)
  }
  return keys
}

/** Until `settled`, which never rejects, unless others come behind it. */
function hold<Key>(held: Map<Key, Promise<void>>, keys: Iterable<Key>, settled: Promise<void>) {
  for (const key of keys) {
    held.set(key, settled)
    void settled.then(() => {
      if (held.get(key) === settled) held.delete(key)
    })
  }
}

async function make(
  states: ClusterStates,
  { id, expected, claim }: StateChange,
  state: StateChange['state'],
): Promise<void> {
  const guard: StateGuard = { expected, claim }
  if (state === null) await states.delete(id, guard)
  else await states.save(id, state as Uint8Array, guard)
}

/** @throws ARGUMENT_INVALID */
function checkOrder(changes: readonly StateChange[], messages: number): void {
  let last = -1
  for (const { message = -1, state } of changes) {
    const isPossible = message >= last && message < messages
    if (isPossible && (state !== 'message' || message >= 0)) {
      last = message
      continue
    }
    throw new BrokerError(
      'ARGUMENT_INVALID',
      "states of no message come first, then those of messages, in the messages' order",
    )
  }
}
