// The port to what the copies of a log agree by: an engine that keeps a few small values through
// the loss of machines, and gives leases. Every call may fail with UNREACHABLE or TIMED_OUT; then
// it may have been carried out, or be carried out later, and only `read` tells.
import type { Candidate, CopyName, GroupState } from './group-state.ts'

/** What the coordinator held at one moment. */
export interface Seen {
  /** Of the state; it changes with every change. 0: there is none. */
  readonly revision: number
  readonly state: GroupState | undefined
  /** Holds the mastership, by a lease that had not run out. */
  readonly holder: MastershipHolder | undefined
  /** Copies that are alive. */
  readonly candidates: readonly Candidate[]
}

export interface MastershipHolder {
  readonly name: CopyName
  /** `Lease.id` */
  readonly lease: string
}

export interface Lease {
  readonly id: string
  readonly ttlMs: number
}

export interface Coordinator {
  /** As new as what any finished call has written. */
  read(): Promise<Seen>
  /** The lease says how long it really is: perhaps longer than asked for. */
  grant(ttlMs: number): Promise<Lease>
  /** The lease lasts for its time again, from some moment during the call. false: it ran out. */
  keepAlive(lease: Lease): Promise<boolean>
  /** What is held by the lease is free. */
  revoke(lease: Lease): Promise<void>
  /** Says that this copy is alive, for as long as the lease lasts. @throws ABORTED: it ran out */
  announce(lease: Lease, candidate: Candidate): Promise<void>
  /**
   * In one step, if the state is still the one that was seen and no copy holds the mastership: the
   * lease's copy holds it, and the state is the next one. false: another state, or held.
   */
  take(lease: Lease, revision: number, next: GroupState): Promise<boolean>
  /**
   * In one step, if the state is still the one that was seen and this lease holds the mastership.
   * @returns the revision of the next state; undefined: another state, or another holder
   */
  replace(lease: Lease, revision: number, next: GroupState): Promise<number | undefined>
}
