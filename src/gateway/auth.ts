// One user store for every protocol and one decision for every path. Knows names, proofs and grants;
// no sockets, no packets.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Protocol } from '../model/client.ts'
import { DLQ_PREFIX, isSystemTopic, RETRY_PREFIX } from '../model/names.ts'
import { isPassword, type PasswordHash, parsePasswordHash } from '../password.ts'

/** Who a connection acts for. */
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
   * User name and password. Rejects with UNAUTHENTICATED, never telling a wrong name from a wrong
   * password, or with BUSY when too many checks wait.
   */
  verifyPassword(user: string, password: string, protocol: Protocol): Promise<Principal>
  /**
   * RocketMQ's ACL: base64 HMAC-SHA1 over `content` with the user's secret key. Compared in constant
   * time. @throws UNAUTHENTICATED
   */
  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal
  /**
   * The principal that something kept belongs to, by its name in `ownerName`, with the rights it has now;
   * undefined when the configuration has no such user.
   */
  ownerOf(name: string | undefined): Principal | undefined
  /**
   * - Anonymous and admins may do everything; `manage` is theirs alone, as are system topics.
   * - `publish` on a topic needs a `publish` grant, `consume` on a topic or group a `consume` grant.
   * - `create` on a topic needs a `create` grant; a group is created by whoever may consume with it.
   * - A retry or dead-letter topic is its group's: reading it, and sending a failed message back to
   *   it, needs `consume` on the group.
   * - Whatever is not granted is denied.
   * @throws PERMISSION_DENIED naming who, what and which resource
   */
  authorize(principal: Principal, action: Action, resource: Resource): void
}

/** What is noted of a principal with what it leaves: undefined for the anonymous one, who all are the same. */
export const ownerName = ({ name, anonymous }: Principal): string | undefined =>
  anonymous ? undefined : name

/**
 * May the principal have what `owner` has left, as `ownerName` noted it? Also where nobody else could: it has
 * no owner, or one that the configuration no longer has.
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

/** One check takes a thread of the pool for its time, and the log's syncs need threads too. */
const CHECKS_IN_FLIGHT_MAX = 2
const CHECKS_WAITING_MAX = 256
const VERIFIED_MAX = 10_000
const VERIFIED_TTL_MS = 10 * 60_000

const ANONYMOUS: Principal = { name: 'anonymous', admin: true, anonymous: true }

/** @throws BrokerError CONFIG_INVALID */
export function openAuthenticator(
  users: Readonly<Record<string, User>>,
  clock: Clock,
): Authenticator {
  return new UserStore(users, clock)
}

interface KnownUser {
  readonly principal: Principal
  readonly password: PasswordHash | undefined
  readonly secretKey: string | undefined
  readonly grants: Readonly<Record<'publish' | 'consume' | 'create', Grants>>
}

class UserStore implements Authenticator {
  readonly anonymousAllowed: boolean
  readonly #users = new Map<string, KnownUser>()
  readonly #checks: PasswordChecks
  /** Checked against for unknown users, so that they take as long as known ones. */
  readonly #nobody: PasswordHash = parsePasswordHash(
    `scrypt:32768:8:1:${randomBytes(16).toString('base64')}:${randomBytes(32).toString('base64')}`,
  )
  readonly #nobodyKey = randomBytes(32).toString('base64')

  constructor(users: Readonly<Record<string, User>>, clock: Clock) {
    this.#checks = new PasswordChecks(clock)
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
    this.anonymousAllowed = this.#users.size === 0
  }

  anonymous(): Principal {
    if (this.anonymousAllowed) return ANONYMOUS
    throw new BrokerError('UNAUTHENTICATED', 'this broker has users: credentials are needed')
  }

  async verifyPassword(name: string, password: string): Promise<Principal> {
    if (this.anonymousAllowed) return ANONYMOUS
    const user = this.#users.get(name)
    const isRight = await this.#checks.check(name, password, user?.password ?? this.#nobody)
    if (isRight && user?.password !== undefined) return user.principal
    throw new BrokerError('UNAUTHENTICATED', 'unknown user or wrong password')
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

/**
 * Runs few checks at a time, one per distinct name and password however many connections ask, and
 * remembers right ones under a keyed hash for a while.
 */
class PasswordChecks {
  readonly #clock: Clock
  readonly #key = randomBytes(32)
  /** Keyed hash -> when it expires (monotonic ms); oldest first. */
  readonly #verified = new Map<string, number>()
  readonly #running = new Map<string, Promise<boolean>>()
  readonly #waiting: (() => void)[] = []
  #inFlight = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  check(name: string, password: string, kept: PasswordHash): Promise<boolean> {
    const id = this.#id(name, password)
    const expiresMs = this.#verified.get(id)
    if (expiresMs !== undefined) {
      if (expiresMs > this.#clock.monotonic()) return Promise.resolve(true)
      this.#verified.delete(id)
    }
    const running = this.#running.get(id)
    if (running !== undefined) return running
    const check = this.#run(id, password, kept).finally(() => this.#running.delete(id))
    this.#running.set(id, check)
    return check
  }

  async #run(id: string, password: string, kept: PasswordHash): Promise<boolean> {
    await this.#turn()
    try {
      const isRight = await isPassword(password, kept)
      if (isRight) this.#remember(id)
      return isRight
    } finally {
      // The place goes straight to the next in line, so that nobody slips in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#inFlight--
      else next()
    }
  }

  async #turn(): Promise<void> {
    if (this.#inFlight < CHECKS_IN_FLIGHT_MAX) {
      this.#inFlight++
      return
    }
    if (this.#waiting.length >= CHECKS_WAITING_MAX) {
      throw new BrokerError(
        'BUSY',
        `${CHECKS_WAITING_MAX} password checks wait already; connect again later`,
      )
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  #remember(id: string): void {
    if (this.#verified.size >= VERIFIED_MAX) {
      const oldest = this.#verified.keys().next()
      if (!oldest.done) this.#verified.delete(oldest.value)
    }
    this.#verified.set(id, this.#clock.monotonic() + VERIFIED_TTL_MS)
  }

  #id(name: string, password: string): string {
    const hmac = createHmac('sha256', this.#key)
    return hmac.update(`${name.length}:${name}`).update(password).digest('base64')
  }
}
