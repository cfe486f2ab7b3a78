// A model of etcd for simulations: one truth, reached through calls that are late, lost before or
// after they were carried out, or carried out after their caller gave up.
import { BrokerError } from '../../../src/errors.ts'
import type {
  Coordinator,
  Lease,
  MastershipHolder,
  Seen,
} from '../../../src/replication/election/coordinator.ts'
import type {
  Candidate,
  CopyName,
  GroupState,
} from '../../../src/replication/election/group-state.ts'
import type { Random } from '../random.ts'
import type { VirtualTime } from './virtual-time.ts'

const TIMEOUT_MS = 150
/** A lease lasts longer than it must. */
const OVERDUE_MS = 100

interface Held {
  untilMs: number
  readonly ttlMs: number
}

export class SimulatedEtcd {
  readonly #time: VirtualTime
  readonly #random: Random
  readonly #leases = new Map<string, Held>()
  readonly #candidates = new Map<
    CopyName,
    { readonly candidate: Candidate; readonly lease: string }
  >()
  #state: GroupState | undefined
  #revision = 0
  #holder: MastershipHolder | undefined
  #count = 0
  /** Of calls that are lost on one of their two ways. */
  lossShare = 0
  /** No answer is late. */
  isPrompt = false
  /** Of every call. */
  refusal: BrokerError | undefined
  /** Copies that reach it not. */
  readonly cutOff = new Set<CopyName>()

  constructor(time: VirtualTime, random: Random) {
    this.#time = time
    this.#random = random
  }

  /** The copy that has the mastership at this very moment. */
  get holder(): CopyName | undefined {
    this.#expire()
    return this.#holder?.name
  }

  get state(): GroupState | undefined {
    return this.#state
  }

  coordinatorOf(name: CopyName): Coordinator {
    return {
      read: () => this.#call(name, () => this.#seen()),
      grant: (ttlMs) => this.#call(name, () => this.#grant(ttlMs)),
      keepAlive: (lease) => this.#call(name, () => this.#keep(lease)),
      revoke: (lease) =>
        this.#call(name, () => {
          this.#leases.delete(lease.id)
        }),
      announce: (lease, candidate) =>
        this.#call(name, () => {
          if (!this.#leases.has(lease.id)) throw new BrokerError('ABORTED', 'it ran out')
          this.#candidates.set(candidate.name, { candidate, lease: lease.id })
        }),
      take: (lease, revision, next) =>
        this.#call(name, () => {
          const isVacant = this.#holder === undefined && this.#leases.has(lease.id)
          if (!isVacant || revision !== this.#revision) return false
          this.#holder = { name, lease: lease.id }
          this.#write(next)
          return true
        }),
      replace: (lease, revision, next) =>
        this.#call(name, () => {
          const isOurs = this.#holder?.lease === lease.id
          return isOurs && revision === this.#revision ? this.#write(next) : undefined
        }),
    }
  }

  #seen(): Seen {
    const candidates = [...this.#candidates.values()].map(({ candidate }) => candidate)
    return { revision: this.#revision, state: this.#state, holder: this.#holder, candidates }
  }

  #grant(ttlMs: number): Lease {
    const id = String(++this.#count)
    this.#leases.set(id, { untilMs: this.#untilMs(ttlMs), ttlMs })
    return { id, ttlMs }
  }

  #keep({ id }: Lease): boolean {
    const held = this.#leases.get(id)
    if (held !== undefined) held.untilMs = this.#untilMs(held.ttlMs)
    return held !== undefined
  }

  #untilMs(ttlMs: number): number {
    return this.#time.nowMs + ttlMs + this.#random.int(OVERDUE_MS)
  }

  #write(next: GroupState): number {
    this.#state = next
    return ++this.#revision
  }

  #expire(): void {
    for (const [id, { untilMs }] of this.#leases) {
      if (untilMs <= this.#time.nowMs) this.#leases.delete(id)
    }
    if (this.#holder !== undefined && !this.#leases.has(this.#holder.lease))
      this.#holder = undefined
    for (const [name, { lease }] of this.#candidates) {
      if (!this.#leases.has(lease)) this.#candidates.delete(name)
    }
  }

  #call<T>(name: CopyName, work: () => T): Promise<T> {
    const random = this.#random
    const delay = (): number =>
      !this.isPrompt && random.chance(0.05) ? random.int(400) : 1 + random.int(12)
    const isLost = (): boolean => this.cutOff.has(name) || random.chance(this.lossShare)
    return new Promise((resolve, reject) => {
      const timeout = this.#time.at(TIMEOUT_MS, () =>
        reject(new BrokerError('TIMED_OUT', 'etcd gave no answer')),
      )
      if (isLost()) return
      this.#time.at(delay(), () => {
        this.#expire()
        let answer: () => void
        try {
          if (this.refusal !== undefined) throw this.refusal
          const result = work()
          answer = () => resolve(result)
        } catch (error) {
          answer = () => reject(error)
        }
        // Expired leases go with what hangs on them, revoked ones too.
        this.#expire()
        if (isLost()) return
        this.#time.at(delay(), () => {
          this.#time.forget(timeout)
          answer()
        })
      })
    })
  }
}
