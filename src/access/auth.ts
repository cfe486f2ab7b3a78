// One user store for every protocol and one decision for every path. Knows names, proofs and
// grants; no sockets, no packets.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { DLQ_PREFIX, isSystemTopic, RETRY_PREFIX } from '../model/names.ts'
import { dummyOf, type PasswordHash, parsePasswordHash } from '../password.ts'
import { parseScramKeys, type ScramKeys } from '../scram-keys.ts'
import type { Account, AccountUsers, ConfiguredUser } from './accounts.ts'
import {
  type AclAction,
  type AclEntry,
  type AclPolicy,
  isAllowedBy,
  type ResourceKind,
} from './acl.ts'
import { FailureBudget } from './failure-budget.ts'
import { FakeScramKeys } from './fake-scram-keys.ts'
import { PasswordChecks } from './password-checks.ts'
import { networkOf } from './peer-network.ts'
import { isToken, type Tokens } from './tokens.ts'

/** The user that a connection acts for. */
export interface Principal {
  readonly name: string
  readonly admin: boolean
  readonly anonymous: boolean
}

/** `read`: to look at what consumers get, or how they get on, without consuming. */
export type Action = 'publish' | 'consume' | 'read' | 'create' | 'manage' | 'delete'

export type Resource =
  | { readonly kind: 'topic'; readonly name: string }
  | { readonly kind: 'group'; readonly name: string }
  | { readonly kind: 'cluster' }

export interface Authenticator {
  /** May clients without credentials act? True without users in the configuration. */
  readonly anonymousAllowed: boolean
  /** @throws UNAUTHENTICATED when there are users */
  anonymous(): Principal
  /**
   * User name and password, and the address they come from. Rejects with UNAUTHENTICATED, never
   * telling a wrong name from a wrong password, with BUSY when too many checks wait, or with the
   * signal's reason when the connection that asks ends before its turn comes.
   */
  verifyPassword(
    user: string,
    password: string,
    address: string,
    signal?: AbortSignal,
  ): Promise<Principal>
  /**
   * The user that a token (JWT) names, which may also stand in the place of a password. Rejects as
   * `verifyPassword`, with why the token is not believed; a right one does not wait for others.
   */
  verifyToken(token: string, address: string, signal?: AbortSignal): Promise<Principal>
  /**
   * Can every user that has a password log in by SCRAM? A token in the place of a password cannot
   * be proved so.
   */
  readonly isScramOffered: boolean
  /**
   * What a login by SCRAM begins with. A user that is unknown, or has no keys, seems to have some,
   * the same each time.
   */
  scramKeys(user: string): ScramKeys
  /**
   * The user whose client proved that it knows the password of these keys of `scramKeys`. Rejects
   * as `verifyPassword`, and wrong proofs count as wrong passwords do.
   */
  verifyProof(
    user: string,
    keys: ScramKeys,
    isRight: () => boolean,
    address: string,
    signal?: AbortSignal,
  ): Promise<Principal>
  /**
   * The user that a verified client certificate names.
   * @throws UNAUTHENTICATED when there is none of this name
   */
  certified(user: string): Principal
  /**
   * RocketMQ's ACL: base64 HMAC-SHA1 over `content` with the user's secret key. Compared in
   * constant time. @throws UNAUTHENTICATED
   */
  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal
  /**
   * Counts a wrong signature that came from the address.
   * @returns for how many ms its answer has to wait, 0 for the first few
   */
  wrongSignature(address: string): number
  /**
   * The principal that something kept belongs to, by its name in `ownerName`, with the rights it
   * has now; undefined when the configuration has no such user.
   */
  ownerOf(name: string | undefined): Principal | undefined
  /**
   * Told the name of each user that is made at run time, when it was changed or deleted: open
   * connections have asked for what it was allowed before.
   */
  watch(changed: (user: string) => void): Disposable
  /**
   * - Anonymous and admins may do everything; `manage` and `delete` are theirs alone among the
   *   users of the configuration, and system topics among all.
   * - `publish` on a topic needs a `publish` grant, `consume` and `read` on a topic or group a
   *   `consume` grant. Users made at run time have RocketMQ's policies instead.
   * - `create` on a topic needs a `create` grant; a group is created by a user that may consume
   *   with it.
   * - A retry or dead-letter topic is its group's: reading it, and sending a failed message back to
   *   it, needs `consume` on the group.
   * - Whatever is not granted is denied.
   * @throws PERMISSION_DENIED naming the user, the action and the resource
   */
  authorize(principal: Principal, action: Action, resource: Resource): void
}

/**
 * The owner to store with a principal's sessions and subscriptions: undefined for the anonymous
 * principal, which all clients without a user share.
 */
export const ownerName = ({ name, anonymous }: Principal): string | undefined =>
  anonymous ? undefined : name

/**
 * May the principal have what `owner` has left, as `ownerName` noted it? Also when no other user
 * could: it has no owner, or one that the configuration no longer has.
 */
export const isOwn = (
  auth: Authenticator,
  principal: Principal,
  owner: string | undefined,
): boolean =>
  owner === undefined || owner === ownerName(principal) || auth.ownerOf(owner) === undefined

/** `authorize` as an answer. */
export function isAllowed(
  auth: Authenticator,
  principal: Principal,
  action: Action,
  resource: Resource,
): boolean {
  try {
    auth.authorize(principal, action, resource)
    return true
  } catch (error) {
    if (BrokerError.from(error).code === 'PERMISSION_DENIED') return false
    throw error
  }
}

/** A user as the configuration has it. A grant is a name, or a prefix that ends in `*`. */
export interface User {
  readonly password?: string | undefined
  readonly scram?: string | undefined
  readonly secretKey?: string | undefined
  readonly admin: boolean
  readonly publish: readonly string[]
  readonly consume: readonly string[]
  readonly create: readonly string[]
}

const ANONYMOUS: Principal = { name: 'anonymous', admin: true, anonymous: true }

/** @throws BrokerError CONFIG_INVALID */
export function openAuthenticator(
  users: Readonly<Record<string, User>>,
  clock: Clock,
  checks: Checks = new PasswordChecks(clock),
  tokens?: Tokens,
): UserStore {
  return new UserStore(users, clock, checks, tokens)
}

/** Is it the user as it is now, which a login that took its time may not have met? */
export const isCurrent = (auth: Authenticator, principal: Principal): boolean =>
  principal.anonymous || auth.ownerOf(principal.name) === principal

/** For the end of a connection whose user was changed: its client logs in again, if it may. */
export const userChanged = (user: string): BrokerError =>
  new BrokerError('UNAUTHENTICATED', `the user '${user}' was changed: log in again`)

type Checks = Pick<PasswordChecks, 'check' | 'checkProof'>

interface KnownUser {
  readonly principal: Principal
  readonly password: PasswordHash | undefined
  readonly scram: ScramKeys | undefined
  readonly secretKey: string | undefined
  /** Accounts that are disabled stay known, with their rights. */
  readonly isEnabled: boolean
  readonly rights: Rights
}

interface Rights {
  allows(action: Action, kind: ResourceKind, name: string): boolean
}

export class UserStore implements Authenticator, AccountUsers {
  readonly anonymousAllowed: boolean
  readonly configured: readonly ConfiguredUser[]
  readonly #users = new Map<string, KnownUser>()
  /** Users with a password and without keys for SCRAM. */
  readonly #lacksScram = new Set<string>()
  readonly #clock: Clock
  readonly #checks: Checks
  readonly #tokens: Tokens | undefined
  /** By network of the address. */
  readonly #wrongSignatures: FailureBudget
  /**
   * Checked against for unknown users: one for each known password, of the same cost. A name has
   * always the same, so that unknown users take as long as known ones, also where the costs of
   * these differ.
   */
  #dummies: readonly PasswordHash[] = [dummyOf()]
  readonly #dummyKey = randomBytes(32)
  readonly #fakes: FakeScramKeys
  readonly #nobodyKey = randomBytes(32).toString('base64')
  readonly #watchers = new Set<(user: string) => void>()

  constructor(
    users: Readonly<Record<string, User>>,
    clock: Clock,
    checks: Checks,
    tokens: Tokens | undefined,
  ) {
    this.#clock = clock
    this.#checks = checks
    this.#tokens = tokens
    this.#wrongSignatures = new FailureBudget(clock)
    for (const [name, user] of Object.entries(users)) {
      this.#put(name, {
        principal: { name, admin: user.admin, anonymous: false },
        password: parsed(name, 'password', user.password, parsePasswordHash),
        scram: parsed(name, 'scram', user.scram, parseScramKeys),
        secretKey: user.secretKey,
        isEnabled: true,
        rights: new GrantedRights(user),
      })
    }
    const known = [...this.#users.values()].flatMap(({ password }) => password ?? [])
    if (known.length > 0) this.#dummies = known.map((password) => dummyOf(password))
    this.anonymousAllowed = this.#users.size === 0
    this.#fakes = new FakeScramKeys(users)
    this.configured = Object.entries(users).map(([name, user]) => ({
      name,
      admin: user.admin,
      policies: policiesOf(user),
    }))
  }

  setAccount(name: string, account: Account | undefined): void {
    if (this.configured.some((user) => user.name === name)) return
    this.#setUser(name, account)
    for (const changed of this.#watchers) changed(name)
  }

  #setUser(name: string, account: Account | undefined): void {
    if (account === undefined) {
      this.#users.delete(name)
      this.#lacksScram.delete(name)
      return
    }
    const { secretKey, isEnabled, policies, scram } = account
    this.#put(name, {
      // A new one each time: what was remembered of its rights is asked for again.
      principal: { name, admin: account.type === 'Super', anonymous: false },
      password: parsePasswordHash(account.password),
      scram: scram === undefined ? undefined : parseScramKeys(scram),
      secretKey,
      isEnabled,
      rights: {
        allows: (action, kind, of) => isAllowedBy(policies, aclActionsOf(action, kind), kind, of),
      },
    })
  }

  #put(name: string, user: KnownUser): void {
    this.#users.set(name, user)
    if (user.password !== undefined && user.scram === undefined) this.#lacksScram.add(name)
    else this.#lacksScram.delete(name)
  }

  #enabled(name: string): KnownUser | undefined {
    const user = this.#users.get(name)
    return user?.isEnabled ? user : undefined
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
    if (this.#tokens !== undefined && isToken(password)) {
      return this.#verifyToken(password, name, address, signal)
    }
    const user = this.#enabled(name)
    const dummy = this.#dummyFor(name)
    const kept = user?.password ?? dummy
    const login = { name, password, address: networkOf(address) }
    const isRight = await this.#checks.check(login, kept, signal)
    // It may have been changed during the check.
    const isKnown = isRight && user?.password !== undefined && user === this.#enabled(name)
    if (isKnown) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown user or wrong password')
  }

  async verifyToken(token: string, address: string, signal?: AbortSignal): Promise<Principal> {
    return this.anonymousAllowed ? ANONYMOUS : this.#verifyToken(token, undefined, address, signal)
  }

  /** `name`: that came with it, and may be no other. */
  async #verifyToken(
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
      const user = name === undefined || name === named ? this.#enabled(named) : undefined
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

  get isScramOffered(): boolean {
    return this.#users.size > 0 && this.#lacksScram.size === 0 && this.#tokens === undefined
  }

  scramKeys(name: string): ScramKeys {
    return this.#enabled(name)?.scram ?? this.#fakes.of(name)
  }

  async verifyProof(
    name: string,
    keys: ScramKeys,
    isRight: () => boolean,
    address: string,
    signal?: AbortSignal,
  ): Promise<Principal> {
    const login = { name, address: networkOf(address) }
    // As it is when the proof is looked at: the password may have been changed since the beginning.
    const known = (): KnownUser | undefined => {
      const user = this.#enabled(name)
      return user?.scram === keys ? user : undefined
    }
    const isKnown = (): boolean => isRight() && known() !== undefined
    const user = (await this.#checks.checkProof(login, isKnown, signal)) ? known() : undefined
    if (user !== undefined) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown user or wrong password')
  }

  certified(name: string): Principal {
    const principal = this.ownerOf(name) ?? (this.anonymousAllowed ? ANONYMOUS : undefined)
    if (principal !== undefined) return principal
    throw new BrokerError('UNAUTHENTICATED', `the certificate names no user: '${name}' is unknown`)
  }

  #dummyFor(name: string): PasswordHash {
    const digest = createHmac('sha256', this.#dummyKey).update(name).digest()
    return this.#dummies[digest.readUInt32BE(0) % this.#dummies.length]!
  }

  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal {
    if (this.anonymousAllowed) return ANONYMOUS
    const user = this.#enabled(accessKey)
    const hmac = createHmac('sha1', user?.secretKey ?? this.#nobodyKey)
    for (const part of content) hmac.update(part)
    const wanted = hmac.digest()
    const given = Buffer.from(signature, 'base64')
    const isRight = timingSafeEqual(wanted, given.length === wanted.length ? given : NO_DIGEST)
    if (isRight && user?.secretKey !== undefined) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown access key or wrong signature')
  }

  wrongSignature(address: string): number {
    const network = networkOf(address)
    this.#wrongSignatures.failed(network)
    const delayMs = this.#wrongSignatures.readyMs(network) - this.#clock.monotonic()
    return Math.max(0, Math.min(SIGNATURE_DELAY_MS_MAX, delayMs))
  }

  ownerOf(name: string | undefined): Principal | undefined {
    if (name !== undefined) return this.#enabled(name)?.principal
    return this.anonymousAllowed ? ANONYMOUS : undefined
  }

  watch(changed: (user: string) => void): Disposable {
    const watcher = (user: string): void => changed(user)
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  #whereToGrant(name: string): string {
    const isConfigured = this.configured.some((user) => user.name === name)
    return isConfigured ? ` in users.${name}` : ': mqadmin updateAcl'
  }

  authorize(principal: Principal, action: Action, resource: Resource): void {
    if (principal.anonymous) return
    // As it is now: a connection has the principal of its login.
    const user = this.#enabled(principal.name)
    if (user?.principal.admin) return
    if (user !== undefined && isGranted(user.rights, action, resource)) return
    const what = resource.kind === 'cluster' ? 'the cluster' : `${resource.kind} '${resource.name}'`
    throw new BrokerError(
      'PERMISSION_DENIED',
      `user '${principal.name}' may not ${action} ${what}; an operator can grant it${this.#whereToGrant(principal.name)}`,
    )
  }
}

function parsed<T>(
  name: string,
  setting: 'password' | 'scram',
  text: string | undefined,
  parse: (text: string) => T,
): T | undefined {
  try {
    return text === undefined ? undefined : parse(text)
  } catch (error) {
    const { message } = BrokerError.from(error)
    throw new BrokerError('CONFIG_INVALID', `users.${name}.${setting}: ${message}`, {
      cause: error,
    })
  }
}

/** RocketMQ's clients wait 3 s for an answer, and this one names the error. */
const SIGNATURE_DELAY_MS_MAX = 2_000

/** No HMAC-SHA1 digest in practice: stands in for a signature of the wrong length. */
const NO_DIGEST = Buffer.alloc(20)

function isGranted(rights: Rights, action: Action, resource: Resource): boolean {
  if (resource.kind === 'cluster') return rights.allows(action, 'Cluster', '')
  const { kind, name } = resource
  if (kind === 'group') return rights.allows(action, 'Group', name)
  for (const prefix of [RETRY_PREFIX, DLQ_PREFIX]) {
    if (name.startsWith(prefix)) {
      const asked = action === 'publish' || action === 'create' ? 'consume' : action
      return rights.allows(asked, 'Group', name.slice(prefix.length))
    }
  }
  return !isSystemTopic(name) && rights.allows(action, 'Topic', name)
}

/** What RocketMQ calls the action; one of several is enough. */
function aclActionsOf(action: Action, kind: ResourceKind): readonly AclAction[] {
  // A group is made by its first consumer.
  if (action === 'create' && kind === 'Group') return ['Create', 'Sub']
  return ACL_ACTIONS[action]
}

const ACL_ACTIONS: Readonly<Record<Action, readonly AclAction[]>> = {
  publish: ['Pub'],
  consume: ['Sub'],
  read: ['Sub', 'Get'],
  create: ['Create'],
  manage: ['Update'],
  delete: ['Delete'],
}

/** The grants of the configuration. */
class GrantedRights implements Rights {
  readonly #publish: Grants
  readonly #consume: Grants
  readonly #create: Grants

  constructor({ publish, consume, create }: User) {
    this.#publish = new Grants(publish)
    this.#consume = new Grants(consume)
    this.#create = new Grants(create)
  }

  allows(action: Action, kind: ResourceKind, name: string): boolean {
    if (action === 'manage' || action === 'delete' || kind === 'Cluster') return false
    if (kind === 'Group') return action !== 'publish' && this.#consume.covers(name)
    if (action === 'publish') return this.#publish.covers(name)
    if (action === 'create') return this.#create.covers(name)
    return this.#consume.covers(name)
  }
}

/** The grants as RocketMQ's tools show them. */
function policiesOf({ publish, consume, create }: User): readonly AclPolicy[] {
  const actions = new Map<string, Set<AclAction>>()
  const add = (kind: ResourceKind, names: readonly string[], ...granted: AclAction[]): void => {
    for (const name of names) {
      const resource = `${kind}:${name}`
      actions.set(resource, new Set([...(actions.get(resource) ?? []), ...granted]))
    }
  }
  add('Topic', publish, 'Pub')
  add('Topic', consume, 'Sub', 'Get')
  add('Topic', create, 'Create')
  add('Group', consume, 'Sub', 'Get')
  if (actions.size === 0) return []
  const entries = [...actions].map(
    ([resource, granted]): AclEntry => ({ resource, actions: [...granted], decision: 'Allow' }),
  )
  return [{ policyType: 'Custom', entries }]
}

/** Names and prefixes, matched literally: nothing from the wire becomes a pattern. */
class Grants {
  readonly #names: ReadonlySet<string>
  readonly #prefixes: readonly string[]

  constructor(patterns: readonly string[]) {
    this.#names = new Set(patterns.filter((pattern) => !pattern.endsWith('*')))
    this.#prefixes = patterns
      .filter((pattern) => pattern.endsWith('*'))
      .map((pattern) => pattern.slice(0, -1))
  }

  covers(name: string): boolean {
    return this.#names.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix))
  }
}
