// The users of every protocol, by name: those of the configuration and the accounts that are made
// at run time. Knows what is kept of each, not how a client proves that it is one.
import { BrokerError } from '../errors.ts'
import type { Account, AccountUsers, ConfiguredUser } from './accounts.ts'
import type { Principal } from './auth.ts'
import { type Granted, GrantedRights, policiesOf, type Rights, rightsOf } from './grants.ts'
import { type PasswordHash, parsePasswordHash } from './secrets/password.ts'
import { parseScramKeys, type ScramKeys } from './secrets/scram-keys.ts'

/** A user as the configuration has it. */
export interface User extends Granted {
  readonly password?: string | undefined
  readonly scram?: string | undefined
  readonly secretKey?: string | undefined
  readonly admin: boolean
}

export interface KnownUser {
  readonly principal: Principal
  readonly password: PasswordHash | undefined
  readonly scram: ScramKeys | undefined
  readonly secretKey: string | undefined
  /** Accounts that are disabled stay known, with their rights. */
  readonly isEnabled: boolean
  readonly rights: Rights
}

export class KnownUsers implements AccountUsers {
  readonly anonymousAllowed: boolean
  readonly configured: readonly ConfiguredUser[]
  readonly #users = new Map<string, KnownUser>()
  /** Users with a password and without keys for SCRAM. */
  readonly #lacksScram = new Set<string>()
  readonly #watchers = new Set<(user: string) => void>()

  /** @throws BrokerError CONFIG_INVALID */
  constructor(users: Readonly<Record<string, User>>) {
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
    this.anonymousAllowed = this.#users.size === 0
    this.configured = Object.entries(users).map(([name, user]) => ({
      name,
      admin: user.admin,
      policies: policiesOf(user),
    }))
  }

  enabled(name: string): KnownUser | undefined {
    const user = this.#users.get(name)
    return user?.isEnabled ? user : undefined
  }

  isConfigured(name: string): boolean {
    return this.configured.some((user) => user.name === name)
  }

  get passwords(): readonly PasswordHash[] {
    return [...this.#users.values()].flatMap(({ password }) => password ?? [])
  }

  /** Has every user that has a password keys for SCRAM? */
  get haveScram(): boolean {
    return this.#users.size > 0 && this.#lacksScram.size === 0
  }

  setAccount(name: string, account: Account | undefined): void {
    if (this.isConfigured(name)) return
    this.#setUser(name, account)
    for (const changed of this.#watchers) changed(name)
  }

  watch(changed: (user: string) => void): Disposable {
    const watcher = (user: string): void => changed(user)
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
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
      rights: rightsOf(policies),
    })
  }

  #put(name: string, user: KnownUser): void {
    this.#users.set(name, user)
    if (user.password !== undefined && user.scram === undefined) this.#lacksScram.add(name)
    else this.#lacksScram.delete(name)
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
