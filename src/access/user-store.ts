// One user store for every protocol and one decision for every path: the known users, and the ways
// to prove that a client is one of them.
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { AccountUsers } from './accounts.ts'
import type { Action, Authenticator, Principal, Resource } from './auth.ts'
import { FakeScramKeys } from './fake-scram-keys.ts'
import { isGranted } from './grants.ts'
import { KnownUsers, type User } from './known-users.ts'
import { type Checks, PasswordLogins, ScramLogins, TokenLogins } from './logins.ts'
import { PasswordChecks } from './password-checks.ts'
import type { ScramKeys } from './secrets/scram-keys.ts'
import { Signatures } from './signatures.ts'
import { endOfToken, isToken, type Tokens } from './tokens.ts'

const ANONYMOUS: Principal = { name: 'anonymous', admin: true, anonymous: true }

export class UserStore implements Authenticator {
  readonly anonymousAllowed: boolean
  readonly #users: KnownUsers
  readonly #passwords: PasswordLogins
  readonly #tokens: TokenLogins
  readonly #scram: ScramLogins
  readonly #signatures: Signatures

  /** @throws BrokerError CONFIG_INVALID */
  constructor(
    users: Readonly<Record<string, User>>,
    clock: Clock,
    checks: Checks = new PasswordChecks(clock),
    tokens?: Tokens,
  ) {
    this.#users = new KnownUsers(users)
    this.anonymousAllowed = this.#users.anonymousAllowed
    this.#passwords = new PasswordLogins(this.#users, checks)
    this.#tokens = new TokenLogins(this.#users, checks, tokens)
    this.#scram = new ScramLogins(this.#users, checks, new FakeScramKeys(users))
    this.#signatures = new Signatures(this.#users, clock)
  }

  /** For the accounts that are made at run time. */
  get accountUsers(): AccountUsers {
    return this.#users
  }

  anonymous(): Principal {
    if (this.anonymousAllowed) return ANONYMOUS
    throw new BrokerError('UNAUTHENTICATED', 'this broker has users: credentials are needed')
  }

  async verifyPassword(
    name: string,
    password: string,
    address: string,
    signal?: AbortSignal,
  ): Promise<Principal> {
    if (this.anonymousAllowed) return ANONYMOUS
    return this.#tokens.areTaken && isToken(password)
      ? this.#tokens.verify(password, name, address, signal)
      : this.#passwords.verify(name, password, address, signal)
  }

  async verifyToken(token: string, address: string, signal?: AbortSignal): Promise<Principal> {
    if (this.anonymousAllowed) return ANONYMOUS
    return this.#tokens.verify(token, undefined, address, signal)
  }

  endOf(password: string): number | undefined {
    const isTaken = this.#tokens.areTaken && !this.anonymousAllowed
    return isTaken && isToken(password) ? endOfToken(password) : undefined
  }

  get isScramOffered(): boolean {
    return this.#users.haveScram && !this.#tokens.areTaken
  }

  scramKeys(name: string): ScramKeys {
    return this.#scram.keys(name)
  }

  verifyProof(
    name: string,
    keys: ScramKeys,
    isRight: () => boolean,
    address: string,
    signal?: AbortSignal,
  ): Promise<Principal> {
    return this.#scram.verify(name, keys, isRight, address, signal)
  }

  certified(name: string): Principal {
    const principal = this.ownerOf(name) ?? (this.anonymousAllowed ? ANONYMOUS : undefined)
    if (principal !== undefined) return principal
    throw new BrokerError('UNAUTHENTICATED', `the certificate names no user: '${name}' is unknown`)
  }

  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal {
    return this.anonymousAllowed
      ? ANONYMOUS
      : this.#signatures.verify(accessKey, signature, content)
  }

  wrongSignature(address: string): number {
    return this.#signatures.wrong(address)
  }

  ownerOf(name: string | undefined): Principal | undefined {
    if (name !== undefined) return this.#users.enabled(name)?.principal
    return this.anonymousAllowed ? ANONYMOUS : undefined
  }

  watch(changed: (user: string) => void): Disposable {
    return this.#users.watch(changed)
  }

  authorize(principal: Principal, action: Action, resource: Resource): void {
    if (principal.anonymous) return
    // As it is now: a connection has the principal of its login.
    const user = this.#users.enabled(principal.name)
    if (user?.principal.admin) return
    if (user !== undefined && isGranted(user.rights, action, resource)) return
    const { name } = principal
    const what = resource.kind === 'cluster' ? 'the cluster' : `${resource.kind} '${resource.name}'`
    const where = this.#users.isConfigured(name) ? ` in users.${name}` : ': mqadmin updateAcl'
    throw new BrokerError(
      'PERMISSION_DENIED',
      `user '${name}' may not ${action} ${what}; an operator can grant it${where}`,
    )
  }
}
