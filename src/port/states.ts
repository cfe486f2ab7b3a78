// States of the Broker port: durable state of front-ends, one opaque value per id, that all
// gateways before one broker or cluster share. MQTT keeps its sessions and retained messages here.
import type {
  Claim,
  State,
  StateEntry,
  StateGuard,
  StateNews,
  StateVersion,
} from '../model/state.ts'

/**
 * Ids have 1 to 32,064 characters; a value may be as large as a message with all its properties.
 * Values are copied within the call. Changes of one id that one caller asks for hold in the order
 * of the calls.
 *
 * A change that is refused with ARGUMENT_INVALID, STATE_CONFLICT or CLAIM_LOST changed nothing.
 * After any other error it may hold, now or later: what the log refuses (READ_ONLY) is kept and
 * written as soon as the log takes it. Then only `load` tells, or saving again.
 */
export interface States {
  /** What `saveSoon` keeps is answered too; on a cluster it may have to be written first. */
  load(id: string): Promise<State | undefined>
  /** Durable when it settles. */
  save(id: string, value: Uint8Array, guard?: StateGuard): Promise<StateVersion>
  /** Kept when it settles, durable within a second; of several in that time the last is written. */
  saveSoon(id: string, value: Uint8Array, claim?: Claim): Promise<void>
  /** As `save`. That nothing is there is no error, unless a version is expected. */
  delete(id: string, guard?: StateGuard): Promise<void>
  /**
   * All states whose ids have the prefix, page by page, in no order. An id that changes during the
   * reading comes as it was before or as it is after, or twice: the greater version is the newer.
   * On a cluster those of a broker that is away since the start are left out; when it is there,
   * `watch` tells of them.
   */
  list(prefix: string): AsyncIterable<readonly StateEntry[]>
  /**
   * Tells of every change of such an id that a `load` or `list` before the call did not show: those
   * of all gateways, the caller's own too. Never within a call that changes something. Versions of
   * one id only grow; of several changes the newest may be told alone.
   */
  watch(prefix: string, changed: (news: StateNews) => void): Disposable
  /**
   * Makes the caller the owner of the id. The owner before is told by its `lost`, and the call
   * waits until that one has released the id, at most `CLAIM_HANDOVER_MS`; from then on what it
   * changes with its claim is refused. What it changed before is what the new owner loads. A
   * claim ends with its gateway's process at the latest.
   *
   * `lost` is called once, never within this call: the id is to be saved with the claim, and
   * released. It is not called after `release`.
   * @throws ARGUMENT_INVALID, CLAIM_LOST when a newer claim came while this one waited
   */
  claim(id: string, lost: () => void): Promise<Claim>
  /** As `claim`, for an id that has no owner; undefined when it has one. */
  claimFree(id: string, lost: () => void): Promise<Claim | undefined>
  /**
   * Tells ids with such a prefix that have a state and no owner any more: the owner has released
   * the id, or its gateway is gone, which shows half a minute later. Each gateway may be told, and
   * more than once: `claimFree` says whose the id is. Never within a call.
   */
  watchFree(prefix: string, freed: (id: string) => void): Disposable
  /** All changes made with the claim hold. Idempotent; a claim that is lost is none. */
  release(claim: Claim): Promise<void>
}
