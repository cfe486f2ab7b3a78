// One user store for every protocol and one decision for every path. Knows names, proofs and
// grants; no sockets, no packets.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { DLQ_PREFIX, isSystemTopic, RETRY_PREFIX } from '../../model/names.ts'
import { dummyOf, type PasswordHash, parsePasswordHash } from '../../password.ts'
import { FailureBudget } from './failure-budget.ts'
import { PasswordChecks } from './password-checks.ts'
import { networkOf } from './peer-network.ts'

/** The user that a connection acts for. */
export interface Principal {
  readonly name: string
  readonly admin: boolean
  readonly anonymous: boolean
}

export type Action = 'publish' | 'consume' | 'create' | 'manage'

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
   * - Anonymous and admins may do everything; `manage` is theirs alone, as are system topics.
   * - `publish` on a topic needs a `publish` grant, `consume` on a topic or group a `consume`
   *   grant.
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
): Authenticator {
  return new UserStore(users, clock, checks)
}

type Checks = Pick<PasswordChecks, 'check'>

interface KnownUser {
  readonly principal: Principal
  readonly password: PasswordHash | undefined
  readonly secretKey: string | undefined
  readonly grants: Readonly<Record<'publish' | 'consume' | 'create', Grants>>
}

class UserStore implements Authenticator {
  readonly anonymousAllowed: boolean
  readonly #users = new Map<string, KnownUser>()
  readonly #clock: Clock
  readonly #checks: Checks
  /** By network of the address. */
  readonly #wrongSignatures: FailureBudget
  /**
   * Checked against for unknown users: one for each known password, of the same cost. A name has
   * always the same, so that unknown users take as long as known ones, also where the costs of
   * these differ.
   */
  #dummies: readonly PasswordHash[] = [dummyOf()]
  readonly #dummyKey = randomBytes(32)
  readonly #nobodyKey = randomBytes(32).toString('base64')

  constructor(users: Readonly<Record<string, User>>, clock: Clock, checks: Checks) {
    this.#clock = clock
    this.#checks = checks
    this.#wrongSignatures = new FailureBudget(clock)
    for (const [name, user] of Object.entries(users)) {
      this.#users.set(name, {
        principal: { name, admin: user.admin, anonymous: false },
        password: user.password === undefined ? undefined : hashOf(name, user.password),
        secretKey: user.secretKey,
        grants: {
          publish: new Grants(user.publish),
          consume: new Grants(user.consume),
          create: new Grants(user.create),
        },
      })
    }
    const known = [...this.#users.values()].flatMap(({ password }) => password ?? [])
    if (known.length > 0) this.#dummies = known.map((password) => dummyOf(password))
    this.anonymousAllowed = this.#users.size === 0
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
    const user = this.#users.get(name)
    const dummy = this.#dummyFor(name)
    const kept = user?.password ?? dummy
    const login = { name, password, address: networkOf(address) }
    const isRight = await this.#checks.check(login, kept, signal)
    if (isRight && user?.password !== undefined) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown user or wrong password')
  }

  #dummyFor(name: string): PasswordHash {
    const digest = createHmac('sha256', this.#dummyKey).update(name).digest()
    return this.#dummies[digest.readUInt32BE(0) % this.#dummies.length]!
  }

  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal {
    if (this.anonymousAllowed) return ANONYMOUS
    const user = this.#users.get(accessKey)
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
    if (name !== undefined) return this.#users.get(name)?.principal
    return this.anonymousAllowed ? ANONYMOUS : undefined
  }

  authorize(principal: Principal, action: Action, resource: Resource): void {
    if (principal.admin) return
    const user = this.#users.get(principal.name)
    if (user !== undefined && isGranted(user, action, resource)) return
    const what = resource.kind === 'cluster' ? 'the cluster' : `${resource.kind} '${resource.name}'`
    throw new BrokerError(
      'PERMISSION_DENIED',
      `user '${principal.name}' may not ${action} ${what}; an operator can grant it in users.${principal.name}`,
    )
  }
}

function hashOf(name: string, text: string): PasswordHash {
  try {
    return parsePasswordHash(text)
  } catch (error) {
    const { message } = BrokerError.from(error)
    throw new BrokerError('CONFIG_INVALID', `users.${name}.password: ${message}`, { cause: error })
  }
}

/** RocketMQ's clients wait 3 s for an answer, and this one names the error. */
const SIGNATURE_DELAY_MS_MAX = 2_000

/** No HMAC-SHA1 digest in practice: stands in for a signature of the wrong length. */
const NO_DIGEST = Buffer.alloc(20)

function isGranted(user: KnownUser, action: Action, resource: Resource): boolean {
  if (action === 'manage' || resource.kind === 'cluster') return false
  if (resource.kind === 'group') {
    return action !== 'publish' && user.grants.consume.covers(resource.name)
  }
  for (const prefix of [RETRY_PREFIX, DLQ_PREFIX]) {
    if (resource.name.startsWith(prefix)) {
      return user.grants.consume.covers(resource.name.slice(prefix.length))
    }
  }
  return !isSystemTopic(resource.name) && user.grants[action].covers(resource.name)
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
