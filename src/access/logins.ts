// The proofs that take their time: a password, a token in its place, a SCRAM exchange. A wrong one
// counts against its name and its address.
import { createHmac, randomBytes } from 'node:crypto'
import { BrokerError } from '../errors.ts'
import type { Principal } from './auth.ts'
import type { FakeScramKeys } from './fake-scram-keys.ts'
import type { KnownUser, KnownUsers } from './known-users.ts'
import type { PasswordChecks } from './password-checks.ts'
import { networkOf } from './peer-network.ts'
import { dummyOf, type PasswordHash } from './secrets/password.ts'
import type { ScramKeys } from './secrets/scram-keys.ts'
import type { Tokens } from './tokens.ts'

export type Checks = Pick<PasswordChecks, 'check' | 'checkProof'>

export class PasswordLogins {
  readonly #users: KnownUsers
  readonly #checks: Checks
  /**
   * Checked against for unknown users: one for each known password, of the same cost. A name has
   * always the same, so that unknown users take as long as known ones, also where the costs of
   * these differ.
   */
  readonly #dummies: readonly PasswordHash[]
  readonly #dummyKey = randomBytes(32)

  constructor(users: KnownUsers, checks: Checks) {
    this.#users = users
    this.#checks = checks
    const { passwords } = users
    this.#dummies = passwords.length > 0 ? passwords.map(dummyOf) : [dummyOf()]
  }

  async verify(
    name: string,
    password: string,
    address: string,
    signal: AbortSignal | undefined,
  ): Promise<Principal> {
    const user = this.#users.enabled(name)
    const dummy = this.#dummyFor(name)
    const kept = user?.password ?? dummy
    const login = { name, password, address: networkOf(address) }
    const isRight = await this.#checks.check(login, kept, signal)
    // It may have been changed during the check.
    const isKnown = isRight && user?.password !== undefined && user === this.#users.enabled(name)
    if (isKnown) return user.principal
    throw wrongPassword()
  }

  #dummyFor(name: string): PasswordHash {
    const digest = createHmac('sha256', this.#dummyKey).update(name).digest()
    return this.#dummies[digest.readUInt32BE(0) % this.#dummies.length]!
  }
}

export class TokenLogins {
  readonly #users: KnownUsers
  readonly #checks: Checks
  readonly #tokens: Tokens | undefined

  constructor(users: KnownUsers, checks: Checks, tokens: Tokens | undefined) {
    this.#users = users
    this.#checks = checks
    this.#tokens = tokens
  }

  get areTaken(): boolean {
    return this.#tokens !== undefined
  }

  /** `name`: that came with it, and may be no other. */
  async verify(
    token: string,
    name: string | undefined,
    address: string,
    signal: AbortSignal | undefined,
  ): Promise<Principal> {
    const tokens = this.#tokens
    if (tokens === undefined) {
      throw new BrokerError('UNAUTHENTICATED', 'this broker takes no tokens: jwt.keys is not set')
    }
    let refusal: unknown
    try {
      const named = await tokens.userOf(token)
      const user = name === undefined || name === named ? this.#users.enabled(named) : undefined
      if (user !== undefined) return user.principal
    } catch (error) {
      refusal = error
    }
    const network = networkOf(address)
    const login = { name: name ?? network, address: network }
    // A right one waits for nothing: HTTP brings it with each request, and it cannot be guessed.
    await this.#checks.checkProof(login, () => false, signal)
    throw (
      refusal ?? new BrokerError('UNAUTHENTICATED', 'the token names no user that is known here')
    )
  }
}

export class ScramLogins {
  readonly #users: KnownUsers
  readonly #checks: Checks
  readonly #fakes: FakeScramKeys

  constructor(users: KnownUsers, checks: Checks, fakes: FakeScramKeys) {
    this.#users = users
    this.#checks = checks
    this.#fakes = fakes
  }

  keys(name: string): ScramKeys {
    return this.#users.enabled(name)?.scram ?? this.#fakes.of(name)
  }

  async verify(
    name: string,
    keys: ScramKeys,
    isRight: () => boolean,
    address: string,
    signal: AbortSignal | undefined,
  ): Promise<Principal> {
    const login = { name, address: networkOf(address) }
    // As it is when the proof is looked at: the password may have been changed since the beginning.
    const known = (): KnownUser | undefined => {
      const user = this.#users.enabled(name)
      return user?.scram === keys ? user : undefined
    }
    const isKnown = (): boolean => isRight() && known() !== undefined
    const user = (await this.#checks.checkProof(login, isKnown, signal)) ? known() : undefined
    if (user !== undefined) return user.principal
    throw wrongPassword()
  }
}

const wrongPassword = (): BrokerError =>
  new BrokerError('UNAUTHENTICATED', 'unknown user or wrong password')
