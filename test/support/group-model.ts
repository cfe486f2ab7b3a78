// What a group that receives per message must do, said in the simplest way: every message is in one
// state, time moves it, and nothing else. The property test runs it beside the real broker.
import { delayLevelMs } from '../../src/model/delay-levels.ts'

type State =
  | { readonly is: 'available' }
  | { readonly is: 'inFlight'; readonly untilMs: number }
  /** Waits for its retry. */
  | { readonly is: 'delayed'; readonly untilMs: number }
  | { readonly is: 'acked' }
  | { readonly is: 'dead' }

interface ModelMessage {
  readonly queueId: number
  /** Deliveries that failed. */
  failed: number
  state: State
  wasSeen: boolean
}

const AVAILABLE: State = { is: 'available' }

export class GroupModel {
  readonly messages = new Map<string, ModelMessage>()
  readonly #retryTimesMax: number
  #nowMs = 0

  constructor(retryTimesMax: number) {
    this.#retryTimesMax = retryTimesMax
  }

  publish(id: string, queueId: number): void {
    this.messages.set(id, { queueId, failed: 0, state: AVAILABLE, wasSeen: false })
  }

  idsIn(state: State['is']): string[] {
    return [...this.messages].filter(([, message]) => message.state.is === state).map(([id]) => id)
  }

  /** What the broker handed out; answers what is wrong with that. */
  received(ids: readonly string[], attempts: readonly number[], max: number, invisibleMs: number) {
    const wrong: string[] = []
    const available = this.idsIn('available')
    const expected = Math.min(max, available.length)
    if (ids.length !== expected) wrong.push(`${ids.length} messages came instead of ${expected}`)
    for (const [i, id] of ids.entries()) {
      const message = this.messages.get(id)
      if (message?.state.is !== 'available') {
        wrong.push(`${id} came though it is ${message?.state.is}`)
        continue
      }
      if (attempts[i] !== message.failed + 1) {
        wrong.push(`${id} came as attempt ${attempts[i]}, not ${message.failed + 1}`)
      }
      if (!message.wasSeen && this.#isOvertaking(id, message)) wrong.push(`${id} came out of order`)
      message.wasSeen = true
      message.state = { is: 'inFlight', untilMs: this.#nowMs + invisibleMs }
    }
    return wrong
  }

  ack(id: string): void {
    this.#message(id).state = { is: 'acked' }
  }

  nack(id: string, delayMs: number | undefined): void {
    const message = this.#message(id)
    const waitMs = delayMs ?? delayLevelMs(3 + message.failed)
    this.#fail(message, waitMs > 0 ? { is: 'delayed', untilMs: this.#nowMs + waitMs } : AVAILABLE)
  }

  release(id: string, counted: boolean): void {
    const message = this.#message(id)
    if (counted) this.#fail(message, AVAILABLE)
    else message.state = AVAILABLE
  }

  deadLetter(id: string): void {
    this.#message(id).state = { is: 'dead' }
  }

  extend(id: string, invisibleMs: number): void {
    this.#message(id).state = { is: 'inFlight', untilMs: this.#nowMs + invisibleMs }
  }

  advance(byMs: number): void {
    this.#nowMs += byMs
    for (const message of this.messages.values()) {
      const { state } = message
      if (state.is === 'inFlight' && state.untilMs <= this.#nowMs) this.#fail(message, AVAILABLE)
      if (state.is === 'delayed' && state.untilMs <= this.#nowMs) message.state = AVAILABLE
    }
  }

  /** Nobody holds anything any more, and that is nobody's failure. */
  restart(): void {
    for (const message of this.messages.values()) {
      if (message.state.is === 'inFlight') message.state = AVAILABLE
    }
  }

  #fail(message: ModelMessage, next: State): void {
    message.failed++
    message.state = message.failed > this.#retryTimesMax ? { is: 'dead' } : next
  }

  /** Is an earlier message of its queue still unseen? */
  #isOvertaking(id: string, message: ModelMessage): boolean {
    for (const [other, { queueId, wasSeen }] of this.messages) {
      if (other === id) return false
      if (queueId === message.queueId && !wasSeen) return true
    }
    return false
  }

  #message(id: string): ModelMessage {
    const message = this.messages.get(id)
    if (message === undefined) throw new RangeError(`no message ${id}`)
    return message
  }
}
