// The signatures of RocketMQ's ACL, which come with every request, and the wait that wrong ones
// bring.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Principal } from './auth.ts'
import { FailureBudget } from './failure-budget.ts'
import type { KnownUsers } from './known-users.ts'
import { networkOf } from './peer-network.ts'

/** RocketMQ's clients wait 3 s for an answer, and this one names the error. */
const DELAY_MS_MAX = 2_000
/** No HMAC-SHA1 digest in practice: stands in for a signature of the wrong length. */
const NO_DIGEST = Buffer.alloc(20)

export class Signatures {
  readonly #users: KnownUsers
  readonly #clock: Clock
  /** By network of the address. */
  readonly #wrong: FailureBudget
  /** For access keys that no user has. */
  readonly #unknownKey = randomBytes(32).toString('base64')

  constructor(users: KnownUsers, clock: Clock) {
    this.#users = users
    this.#clock = clock
    this.#wrong = new FailureBudget(clock)
  }

  verify(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal {
    const user = this.#users.enabled(accessKey)
    const hmac = createHmac('sha1', user?.secretKey ?? this.#unknownKey)
    for (const part of content) hmac.update(part)
    const wanted = hmac.digest()
    const given = Buffer.from(signature, 'base64')
    const isRight = timingSafeEqual(wanted, given.length === wanted.length ? given : NO_DIGEST)
    if (isRight && user?.secretKey !== undefined) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown access key or wrong signature')
  }

  /** @returns for how many ms the answer to a wrong one has to wait */
  wrong(address: string): number {
    const network = networkOf(address)
    this.#wrong.failed(network)
    const delayMs = this.#wrong.readyMs(network) - this.#clock.monotonic()
    return Math.max(0, Math.min(DELAY_MS_MAX, delayMs))
  }
}
