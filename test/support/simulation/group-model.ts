// What a group that receives per message must do, said in the simplest way: every message is in one
// state, time moves it, and nothing else. The property test runs it beside the real broker.
import { delayLevelMs } from '../../../src/model/delay-levels.ts'

type State =
  | { readonly is: 'available' }
  | {
      readonly is: 'inFlight'
      readonly untilMs: number
      readonly member: string
      readonly turn: number
    }
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
  /** By member, the message it is believed to be working on. */
  readonly #suspects = new Map<string, string>()
  #nowMs = 0
  #turn = 0

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
  received(
    ids: readonly string[],
    attempts: readonly number[],
    request: { maxMessages: number; invisibleMs: number; memberId: string },
  ) {
    const { maxMessages: max, invisibleMs, memberId: member } = request
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
      const untilMs = this.#nowMs + invisibleMs
      message.state = { is: 'inFlight', untilMs, member, turn: this.#turn++ }
    }
    return wrong
  }

  ack(id: string): void {
    this.goOn([id])
    this.#message(id).state = { is: 'acked' }
  }

  nack(id: string, delayMs: number | undefined): void {
    this.goOn([id])
    const message = this.#message(id)
    const waitMs = delayMs ?? (message.failed === 0 ? 0 : delayLevelMs(2 + message.failed))
    this.#fail(message, waitMs > 0 ? { is: 'delayed', untilMs: this.#nowMs + waitMs } : AVAILABLE)
  }

  release(id: string): void {
    this.#message(id).state = AVAILABLE
  }

  /** A member was lost: what it worked on failed, the rest is as it was. */
  abandon(ids: readonly string[]): void {
    const [first] = ids
    if (first === undefined) return
    const suspect = this.#suspects.get(this.#memberOf(first)) ?? first
    for (const id of ids) {
      if (id === suspect) this.#fail(this.#message(id), AVAILABLE)
      else this.release(id)
    }
  }

  /** The members that had these have settled something. */
  goOn(ids: readonly string[]): void {
    for (const id of ids) this.#suspects.delete(this.#memberOf(id))
  }

  deadLetter(id: string): void {
    this.goOn([id])
    this.#message(id).state = { is: 'dead' }
  }

  extend(id: string, invisibleMs: number): void {
    const { state } = this.#message(id)
    const untilMs = this.#nowMs + invisibleMs
    if (state.is === 'inFlight') this.#message(id).state = { ...state, untilMs }
  }

  advance(byMs: number): void {
    this.#nowMs += byMs
    this.#expire()
    for (const message of this.messages.values()) {
      const { state } = message
      if (state.is === 'delayed' && state.untilMs <= this.#nowMs) message.state = AVAILABLE
    }
  }

  /** What ends at one time ends together; of a member only what it works on counts. */
  #expire(): void {
    const held = this.#held()
    const times = new Set(held.map(({ state }) => state.untilMs).filter((ms) => ms <= this.#nowMs))
    for (const timeMs of [...times].sort((a, b) => a - b)) {
      const due = held.filter(({ state }) => state.untilMs === timeMs)
      for (const { state } of due) this.#suspect(state.member)
      for (const { id, message, state } of due) {
        if (this.#suspects.get(state.member) === id) this.#fail(message, AVAILABLE)
        else message.state = AVAILABLE
      }
    }
  }

  #suspect(member: string): void {
    if (this.#suspects.has(member)) return
    const theirs = this.#held().filter(({ state }) => state.member === member)
    const first = theirs.reduce((a, b) => (a.state.turn < b.state.turn ? a : b))
    this.#suspects.set(member, first.id)
  }

  #held() {
    return [...this.messages].flatMap(([id, message]) =>
      message.state.is === 'inFlight' ? [{ id, message, state: message.state }] : [],
    )
  }

  #memberOf(id: string): string {
    const { state } = this.#message(id)
    return state.is === 'inFlight' ? state.member : ''
  }

  /** No consumer holds a message any more, and that is no consumer's failure. */
  restart(): void {
    this.#suspects.clear()
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
