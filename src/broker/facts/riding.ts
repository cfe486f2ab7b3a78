// The state changes of one `publish`: which of them ride with each of its appends.
import { BrokerError } from '../../errors.ts'
import type { StateChange } from '../../model/state.ts'
import type { StagedChange, StateTable } from './states.ts'

export class Riding {
  readonly #changes: readonly StateChange[]
  readonly #states: StateTable
  /** Those that belong to no message. */
  readonly #common: StagedChange[] = []
  /** The first that has not boarded. */
  #next: number

  /** @throws ARGUMENT_INVALID, STATE_CONFLICT, CLAIM_LOST */
  constructor(changes: readonly StateChange[], states: StateTable) {
    this.#changes = changes
    this.#states = states
    let before = -1
    for (const change of changes) {
      const { id, state, message } = change
      const bytes = state === null || state === 'message' ? 0 : state.length
      states.check(id, bytes, change)
      if (message === undefined ? before >= 0 || state === 'message' : message < before) {
        throw misplaced(id)
      }
      if (message !== undefined) before = message
    }
    for (const { id, state, message } of changes) {
      if (message !== undefined || state === 'message') break
      this.#common.push(states.stageKept(id, state))
    }
    this.#next = this.#common.length
  }

  /** The changes that go with an append whatever its messages are. */
  start(): StagedChange[] {
    return [...this.#common]
  }

  /** Message `index` of the call is number `place` of its append. */
  board(index: number, place: number, staged: StagedChange[]): void {
    while (this.#next < this.#changes.length) {
      const { id, state, message } = this.#changes[this.#next]!
      if (message! > index) return
      this.#next++
      // A state that belongs to an earlier message was refused with it.
      if (message === index) staged.push(this.#states.stage(id, state, place))
    }
  }
}

const misplaced = (id: string): BrokerError =>
  new BrokerError(
    'ARGUMENT_INVALID',
    `the change of '${id.slice(0, 300)}' is out of the messages' order, or is to be a message and names none`,
  )
