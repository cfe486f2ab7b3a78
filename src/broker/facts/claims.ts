// The owners of ids of the states. The claims of an embedded broker live as long as its process,
// for its front-ends live no longer. As many as there are connections with a durable session.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { CLAIM_HANDOVER_MS, type Claim, claimLost } from '../../model/state.ts'

interface Owner {
  readonly number: number
  readonly lost: () => void
  /** Since it was told. */
  timer: Timer | undefined
  next: Newcomer | undefined
}

interface Newcomer {
  readonly grant: () => void
  readonly refuse: (error: BrokerError) => void
}

export class ClaimTable {
  readonly #clock: Clock
  /** Told of an id that was released and that no newcomer waits for. */
  readonly #freed: (id: string) => void
  readonly #owners = new Map<string, Owner>()
  #last = 0
  #isClosed = false

  constructor(clock: Clock, freed: (id: string) => void) {
    this.#clock = clock
    this.#freed = freed
  }

  hasOwner(id: string): boolean {
    return this.#owners.has(id)
  }

  /** @throws CLAIM_LOST, CLOSED */
  claim(id: string, lost: () => void): Promise<Claim> {
    if (this.#isClosed) return Promise.reject(closed())
    const claim = { id, number: ++this.#last }
    const owner = this.#owners.get(id)
    if (owner === undefined) {
      this.#own(claim, lost)
      return Promise.resolve(claim)
    }
    owner.next?.refuse(claimLost(id))
    return new Promise((resolve, reject) => {
      const refuse = (error: BrokerError): void => {
        owner.next = undefined
        reject(error)
      }
      const grant = (): void => {
        owner.next = undefined
        this.#own(claim, lost)
        resolve(claim)
      }
      owner.next = { grant, refuse }
      this.#tell(id, owner)
    })
  }

  /** undefined when another owns it. @throws CLOSED */
  claimFree(id: string, lost: () => void): Claim | undefined {
    if (this.#isClosed) throw closed()
    if (this.#owners.has(id)) return undefined
    const claim = { id, number: ++this.#last }
    this.#own(claim, lost)
    return claim
  }

  /** @throws CLAIM_LOST */
  check({ id, number }: Claim, changedId: string): void {
    if (id !== changedId || this.#owners.get(id)?.number !== number) throw claimLost(changedId)
  }

  release({ id, number }: Claim): void {
    const owner = this.#owners.get(id)
    if (owner?.number === number) this.#pass(id, owner)
  }

  /** Without a word to the owners, which end as well. */
  close(): void {
    this.#isClosed = true
    for (const { timer, next } of this.#owners.values()) {
      timer?.cancel()
      next?.refuse(closed())
    }
    this.#owners.clear()
  }

  #own({ id, number }: Claim, lost: () => void): void {
    this.#owners.set(id, { number, lost, timer: undefined, next: undefined })
  }

  #tell(id: string, owner: Owner): void {
    if (owner.timer !== undefined) return
    owner.timer = this.#clock.after(CLAIM_HANDOVER_MS, () => this.#pass(id, owner))
    queueMicrotask(() => {
      if (this.#owners.get(id) === owner) owner.lost()
    })
  }

  #pass(id: string, owner: Owner): void {
    if (this.#owners.get(id) !== owner) return
    owner.timer?.cancel()
    this.#owners.delete(id)
    if (owner.next === undefined) this.#freed(id)
    else owner.next.grant()
  }
}

const closed = (): BrokerError => new BrokerError('CLOSED', 'the broker is closed')
