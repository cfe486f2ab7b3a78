// What every front-end asks: which user a client is, and what that user may do. Knows no sockets
// and no packets.
import { BrokerError } from '../errors.ts'
import type { ScramKeys } from './secrets/scram-keys.ts'

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
   * How long what `verifyPassword` or `verifyToken` took for right is so, epoch ms: a connection
   * that came by a token is not to outlive it. undefined for a password.
   */
  endOf(password: string): number | undefined
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

/** For the end of a connection whose token is over: its client brings a new one, if it has one. */
export const tokenExpired = (): BrokerError =>
  new BrokerError('UNAUTHENTICATED', 'the token of this connection has expired: bring a new one')

/** Is it the user as it is now, which a login that took its time may not have met? */
export const isCurrent = (auth: Authenticator, principal: Principal): boolean =>
  principal.anonymous || auth.ownerOf(principal.name) === principal

/** For the end of a connection whose user was changed: its client logs in again, if it may. */
export const userChanged = (user: string): BrokerError =>
  new BrokerError('UNAUTHENTICATED', `the user '${user}' was changed: log in again`)
