// Runs few password checks at a time, one per distinct name and password however many connections
// ask, and remembers right ones under a keyed hash for a while. Logins wait by address and by name,
// served in turn, and an address whose passwords are wrong again and again waits longer, so that
// guessing does not keep others out. A check that no connection waits for any more leaves the
// queue.
import { createHmac, randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { FailureBudget } from './failure-budget.ts'
import { FairQueue, type WaitingLogin } from './fair-queue.ts'
import { isPassword, type PasswordHash } from './secrets/password.ts'
import { SharedOutcome } from './shared-outcome.ts'

/** One check takes a thread of the pool for its time, and the log's syncs need threads too. */
const CHECKS_IN_FLIGHT_MAX = 2
const CHECKS_WAITING_MAX = 256
const VERIFIED_MAX = 10_000
const VERIFIED_TTL_MS = 10 * 60_000

export interface Login {
  readonly name: string
  readonly password: string
  /** Where it comes from: what counts as one place. */
  readonly address: string
}

export class PasswordChecks {
  readonly #clock: Clock
  readonly #key = randomBytes(32)
  /** Keyed hash -> when it expires (monotonic ms); oldest first. */
  readonly #verified = new Map<string, number>()
  /** Of the checks that run or wait, by keyed hash. */
  readonly #outcomes = new Map<string, SharedOutcome<boolean>>()
  readonly #waiting = new FairQueue(CHECKS_WAITING_MAX)
  readonly #byAddress: FailureBudget
  readonly #byName: FailureBudget
  #inFlight = 0
  #proofs = 0
  #pause: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#byAddress = new FailureBudget(clock)
    this.#byName = new FailureBudget(clock)
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  /**
   * Rejects with BUSY when too many wait, and with the signal's reason when that is aborted first.
   */
  check(login: Login, kept: PasswordHash, signal?: AbortSignal): Promise<boolean> {
    const id = this.#id(login, kept)
    const expiresMs = this.#verified.get(id)
    if (expiresMs !== undefined) {
      if (expiresMs > this.#clock.monotonic()) return Promise.resolve(true)
      this.#verified.delete(id)
    }
    if (signal?.aborted) return Promise.reject(signal.reason)
    const under = this.#outcomes.get(id)
    if (under !== undefined) return under.wait(signal)
    const isRight = async (): Promise<boolean> => {
      const right = await isPassword(login.password, kept)
      if (right) this.#remember(id)
      return right
    }
    return this.#enqueue(id, login, isRight, signal)
  }

  /** A proof in place of a password: wrong ones count and wait as wrong passwords do. */
  checkProof(
    login: Omit<Login, 'password'>,
    isRight: () => boolean,
    signal?: AbortSignal,
  ): Promise<boolean> {
    if (signal?.aborted) return Promise.reject(signal.reason)
    return this.#enqueue(`proof ${++this.#proofs}`, login, async () => isRight(), signal)
  }

  #enqueue(
    id: string,
    { address, name }: Omit<Login, 'password'>,
    isRight: () => Promise<boolean>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const waiting: WaitingLogin = {
      ...{ address, name },
      start: () => this.#run(id, { address, name }, isRight),
      refuse: () => this.#settle(id, (outcome) => outcome.reject(crowded())),
    }
    // One that runs already goes on: what it comes to is remembered, and counts where it was wrong.
    const outcome = new SharedOutcome<boolean>(() => {
      if (this.#waiting.remove(waiting)) this.#outcomes.delete(id)
    })
    this.#outcomes.set(id, outcome)
    const answer = outcome.wait(signal)
    this.#waiting.add(waiting)
    this.#next()
    return answer
  }

  #run(
    id: string,
    { address, name }: Omit<Login, 'password'>,
    isRight: () => Promise<boolean>,
  ): void {
    isRight()
      .then(
        (right) => {
          if (!right) {
            this.#byAddress.failed(address)
            this.#byName.failed(name)
          }
          this.#settle(id, (outcome) => outcome.resolve(right))
        },
        (error: unknown) => this.#settle(id, (outcome) => outcome.reject(error)),
      )
      .finally(() => {
        this.#inFlight--
        this.#next()
      })
  }

  #settle(id: string, tell: (outcome: SharedOutcome<boolean>) => void): void {
    const outcome = this.#outcomes.get(id)
    this.#outcomes.delete(id)
    if (outcome !== undefined) tell(outcome)
  }

  #next(): void {
    while (this.#inFlight < CHECKS_IN_FLIGHT_MAX) {
      const now = this.#clock.monotonic()
      const next = this.#waiting.take((login) => this.#readyMs(login) <= now)
      if (next === undefined) break
      this.#inFlight++
      next.start()
    }
    if (this.#inFlight < CHECKS_IN_FLIGHT_MAX && this.#waiting.size > 0) this.#nextLater()
  }

  /** Those that wait have failed too often: one may go when its pause is over. */
  #nextLater(): void {
    let readyMs = Number.POSITIVE_INFINITY
    for (const login of this.#waiting) readyMs = Math.min(readyMs, this.#readyMs(login))
    this.#pause?.cancel()
    this.#pause = this.#clock.after(readyMs - this.#clock.monotonic(), () => this.#next())
  }

  /**
   * A name under attack does not keep its user out at an address from which no password was wrong.
   */
  #readyMs({ address, name }: WaitingLogin): number {
    const readyMs = this.#byAddress.readyMs(address)
    return this.#byAddress.count(address) > 0
      ? Math.max(readyMs, this.#byName.readyMs(name))
      : readyMs
  }

  #remember(id: string): void {
    if (this.#verified.size >= VERIFIED_MAX) {
      const oldest = this.#verified.keys().next()
      if (!oldest.done) this.#verified.delete(oldest.value)
    }
    this.#verified.set(id, this.#clock.monotonic() + VERIFIED_TTL_MS)
  }

  /** A password that was right is none any more once the user has another. */
  #id({ name, password }: Login, { salt, hash }: PasswordHash): string {
    const hmac = createHmac('sha256', this.#key).update(`${salt.length}:`).update(salt)
    hmac.update(`${hash.length}:`).update(hash)
    return hmac.update(`${name.length}:${name}`).update(password).digest('base64')
  }
}

const crowded = (): BrokerError =>
  new BrokerError('BUSY', `${CHECKS_WAITING_MAX} password checks wait already; connect again later`)
