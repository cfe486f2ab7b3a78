// One user store for every protocol and one decision for every path.
import type { Protocol } from '../model/client.ts'

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
  anonymous(): Principal
  /** User name and password. Rejects with UNAUTHENTICATED; the reason is never told apart. */
  verifyPassword(user: string, password: string, protocol: Protocol): Promise<Principal>
  /**
   * RocketMQ's ACL: base64 HMAC-SHA1 over `content` with the user's secret key. Compared in constant
   * time. @throws UNAUTHENTICATED
   */
  verifySignature(accessKey: string, signature: string, content: readonly Uint8Array[]): Principal
  /** @throws PERMISSION_DENIED naming who, what and which resource */
  authorize(principal: Principal, action: Action, resource: Resource): void
}
