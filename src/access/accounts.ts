// Users that are made while the broker runs, beside those of the configuration: RocketMQ's users
// and ACLs, durable with the broker's states. Knows no requests.
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { NO_STATE, type StateEntry, type StateNews, type StateVersion } from '../model/state.ts'
import { type AclPolicy, mergedPolicies, resourceOf, withoutEntry } from './acl.ts'
import { Exclusive } from './exclusive.ts'
import { hashPassword } from './secrets/password.ts'
import { makeScramKeys, scramText } from './secrets/scram-keys.ts'

export interface Account {
  readonly name: string
  /** What clients of RocketMQ sign with: known to the broker as it is. */
  readonly secretKey: string
  /** Of the same password, for the other protocols. */
  readonly password: string
  /** Of the same password; undefined: it was set by a version without SCRAM. */
  readonly scram?: string
  readonly type: 'Super' | 'Normal'
  readonly isEnabled: boolean
  readonly policies: readonly AclPolicy[]
}

/** What a client may say of a user; what it leaves out stays as it is. */
export interface GivenAccount {
  readonly password?: string | undefined
  readonly type?: Account['type'] | undefined
  readonly isEnabled?: boolean | undefined
}

/** The part of the broker's states that is needed here. */
export interface AccountStates {
  save(id: string, value: Uint8Array, guard?: { expected?: StateVersion }): Promise<StateVersion>
  delete(id: string, guard?: { expected?: StateVersion }): Promise<void>
  list(prefix: string): AsyncIterable<readonly StateEntry[]>
  watch(prefix: string, changed: (news: StateNews) => void): Disposable
}

/** A user of the configuration, its grants as policies. */
export type ConfiguredUser = Pick<Account, 'name' | 'policies'> & { readonly admin: boolean }

/** The users that log in, as `accounts` changes them. */
export interface AccountUsers {
  /** In the configuration, which is the only place to change them. */
  readonly configured: readonly ConfiguredUser[]
  /** Are there users in the configuration? */
  readonly anonymousAllowed: boolean
  /** undefined: there is no such account any more. */
  setAccount(name: string, account: Account | undefined): void
}

const ID_PREFIX = 'access/user/'
const ACCOUNTS_MAX = 10_000
const NAME_CHARS_MAX = 255
const PASSWORD_CHARS_MAX = 1_024

interface Known {
  readonly account: Account | undefined
  readonly version: StateVersion
}

export class Accounts {
  readonly #states: AccountStates
  readonly #users: AccountUsers
  readonly #log: Logger
  readonly #known = new Map<string, Known>()
  readonly #changes = new Exclusive()
  #watch: Disposable | undefined

  constructor(states: AccountStates, users: AccountUsers, log: Logger) {
    this.#states = states
    this.#users = users
    this.#log = log
  }

  /** Settles when every account can log in. */
  async open(): Promise<void> {
    this.#watch = this.#states.watch(ID_PREFIX, (news) => this.#learn(news))
    for await (const page of this.#states.list(ID_PREFIX)) {
      for (const entry of page) this.#learn(entry)
    }
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  get configured(): readonly ConfiguredUser[] {
    return this.#users.configured
  }

  list(): readonly Account[] {
    return [...this.#known.values()].flatMap(({ account }) => account ?? [])
  }

  /**
   * Durable when it settles.
   * @throws BrokerError PERMISSION_DENIED, ARGUMENT_INVALID, QUOTA_EXCEEDED
   */
  create(name: string, given: GivenAccount): Promise<void> {
    return this.#change(name, async (known) => {
      if (known !== undefined) throw denied(`there is a user '${name}' already`)
      checkName(name)
      if (this.list().length >= ACCOUNTS_MAX) {
        throw new BrokerError('QUOTA_EXCEEDED', `there are ${ACCOUNTS_MAX} users at most`)
      }
      const { type = 'Normal', isEnabled = true } = given
      const secrets = await secretsOf(given.password ?? '')
      return { name, ...secrets, type, isEnabled, policies: [] }
    })
  }

  update(name: string, given: GivenAccount): Promise<void> {
    return this.#change(name, async (known) => {
      if (known === undefined) throw denied(`there is no user '${name}'`)
      const { type = known.type, isEnabled = known.isEnabled, password } = given
      return { ...known, ...(password && (await secretsOf(password))), type, isEnabled }
    })
  }

  /** With its rights. That there is no such user is no error. */
  delete(name: string): Promise<void> {
    return this.#change(name, async () => undefined)
  }

  /** An entry takes the place of the one of its resource. */
  putPolicies(name: string, policies: readonly AclPolicy[]): Promise<void> {
    return this.#change(name, async (known) => {
      if (known === undefined) throw denied(`there is no user '${name}'`)
      return { ...known, policies: mergedPolicies(known.policies, policies) }
    })
  }

  /** Without a resource all of them. */
  deletePolicies(name: string, policyType: string, resource: string): Promise<void> {
    return this.#change(name, async (known) => {
      if (known === undefined) throw denied(`there is no user '${name}'`)
      if (known.policies.length === 0) throw denied(`the user '${name}' has no rights to take away`)
      if (resource === '') return { ...known, policies: [] }
      return { ...known, policies: withoutEntry(known.policies, policyType, resourceOf(resource)) }
    })
  }

  #change(
    name: string,
    change: (known: Account | undefined) => Promise<Account | undefined>,
  ): Promise<void> {
    if (this.#users.anonymousAllowed) {
      throw denied(
        'this broker has no users in its configuration, so every client may do everything: add an admin to `users` first',
      )
    }
    if (this.configured.some((user) => user.name === name)) {
      throw denied(`the user '${name}' is one of the broker's configuration: change it there`)
    }
    return this.#changes.run(name, async () => {
      const { account: before, version = NO_STATE } = this.#known.get(name) ?? {}
      const expected = before === undefined ? NO_STATE : version
      const account = await change(before)
      const id = ID_PREFIX + name
      if (account === undefined) {
        if (before !== undefined) await this.#states.delete(id, { expected })
        this.#set(name, { account, version })
        return
      }
      const saved = await this.#states.save(id, encode(account), { expected })
      this.#set(name, { account, version: saved })
    })
  }

  #learn({ id, value, version }: { id: string; value: Buffer | undefined; version: StateVersion }) {
    const name = id.slice(ID_PREFIX.length)
    if ((this.#known.get(name)?.version ?? NO_STATE) >= version) return
    try {
      this.#set(name, { account: value && decode(name, value), version })
      if (value === undefined) this.#known.delete(name)
    } catch (error) {
      const fields = { evt: 'access.account_unread', user: name, error: String(error) }
      this.#log.error(
        fields,
        'a user cannot be read and does not get in; delete it and make it again',
      )
    }
  }

  #set(name: string, known: Known): void {
    this.#known.set(name, known)
    this.#users.setAccount(name, known.account)
  }
}

const encode = (account: Account): Buffer => Buffer.from(JSON.stringify(account))

function decode(name: string, value: Buffer): Account {
  const account = JSON.parse(value.toString('utf8')) as Account
  if (account.name !== name || !Array.isArray(account.policies)) throw new Error('no account')
  return account
}

type Secrets = Required<Pick<Account, 'secretKey' | 'password' | 'scram'>>

async function secretsOf(password: string): Promise<Secrets> {
  if (password.trim() === '' || password.length > PASSWORD_CHARS_MAX) {
    throw denied(`a password has 1 to ${PASSWORD_CHARS_MAX} characters`)
  }
  const [hash, keys] = await Promise.all([hashPassword(password), makeScramKeys(password)])
  return { secretKey: password, password: hash, scram: scramText(keys) }
}

function checkName(name: string): void {
  if (name.trim() !== '' && name.length <= NAME_CHARS_MAX) return
  throw new BrokerError('ARGUMENT_INVALID', `a user name has 1 to ${NAME_CHARS_MAX} characters`)
}

const denied = (text: string): BrokerError => new BrokerError('PERMISSION_DENIED', text)
