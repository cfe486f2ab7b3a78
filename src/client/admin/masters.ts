// The masters of a cluster, for requests that each of them is to answer. What is asked of all of
// them fails where one does not answer, unless the caller takes what the others say.
import { BrokerError } from '../../errors.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { RemotingConnection, RequestOptions } from '../../remoting/connection.ts'
import type { CallOptions } from '../calls/calls.ts'
import { checkKind, KIND } from '../calls/option-names.ts'
import { responseError } from '../calls/response-errors.ts'
import { notThere } from '../routes/brokers.ts'
import { type Directory, isConnectionFailure } from '../routes/name-servers.ts'
import type { Outages } from '../routes/outages.ts'
import type { BrokerPeers } from '../routes/presence.ts'

const MASTER_ID = 0
/** Changes of definitions may take a broker longer than messages do. */
const TIMEOUT_MS = 10_000

export interface Master {
  readonly name: string
  readonly address: string
}

export interface MasterAnswer extends Master {
  readonly response: Command
}

export interface PartialOptions {
  /**
   * Told of a master that does not answer: the call has what the others say, and rejects only when
   * none of them does. Without it one that does not answer fails the call.
   */
  readonly missing?: ((master: Master, error: BrokerError) => void) | undefined
}

/**
 * The same options, and the errors of those that did not answer: what is not found may be theirs.
 */
export function noting<T extends PartialOptions>(
  options: T,
): { readonly noted: T; readonly away: readonly BrokerError[] } {
  checkKind('options', options, KIND.object)
  const { missing } = options
  const away: BrokerError[] = []
  if (missing === undefined) return { noted: options, away }
  const note = (master: Master, error: BrokerError): void => {
    away.push(error)
    missing(master, error)
  }
  return { noted: { ...options, missing: note }, away }
}

/** As sentences list names. */
export const quoted = (names: readonly string[]): string =>
  names.map((name) => `'${name}'`).join(', ')

export class Masters {
  readonly #directory: Directory
  readonly #presence: BrokerPeers
  readonly #outages: Outages

  constructor(directory: Directory, presence: BrokerPeers, outages: Outages) {
    this.#directory = directory
    this.#presence = presence
    this.#outages = outages
  }

  async list(options: CallOptions): Promise<readonly Master[]> {
    const brokers = await this.#directory.brokers(options)
    return brokers.flatMap(({ brokerName, addresses }) => {
      const address = addresses.get(MASTER_ID)
      if (address === undefined) return []
      this.#outages.expect(brokerName, address)
      return [{ name: brokerName, address }]
    })
  }

  connection(address: string, options: CallOptions): Promise<RemotingConnection> {
    return this.#presence.connection(address, options)
  }

  /**
   * The answer of every master that has one; `absent` is the response code of those that do not
   * have what is asked for.
   */
  async ask(
    code: number,
    asked: string,
    options: RequestOptions & PartialOptions,
    absent?: number,
  ): Promise<readonly MasterAnswer[]> {
    const { missing, ...request } = options
    const masters = await this.list(request)
    const answers = await this.each(masters, missing, (master) =>
      this.#askOne(master, code, asked, request, absent),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  /**
   * Each of the masters is to do it, also when others fail. Rejects where one did not, and
   * says which did: once that one answers, the same call brings it about.
   */
  async change(
    masters: readonly Master[],
    code: number,
    doing: string,
    options: RequestOptions,
  ): Promise<void> {
    const settled = await Promise.allSettled(
      masters.map((master) => this.#askOne(master, code, doing, options)),
    )
    const done: string[] = []
    const failures: { readonly name: string; readonly error: BrokerError }[] = []
    for (const [i, one] of settled.entries()) {
      const { name } = masters[i]!
      if (one.status === 'fulfilled') done.push(name)
      else if (options.signal?.aborted) throw one.reason
      else failures.push({ name, error: BrokerError.from(one.reason) })
    }
    const [first] = failures
    if (first === undefined) return
    if (masters.length === 1) throw first.error
    const not = failures.map(({ name, error }) => `not on '${name}' (${error.message})`).join(', ')
    const where = done.length === 0 ? 'on none' : `on ${quoted(done)}`
    throw new BrokerError(first.error.code, `${doing}: done ${where}, ${not}; it can be repeated`, {
      cause: first.error,
      retryable: failures.every(({ error }) => error.retryable),
    })
  }

  async #askOne(
    { name, address }: Master,
    code: number,
    asked: string,
    request: RequestOptions,
    absent?: number,
  ): Promise<MasterAnswer | undefined> {
    const timeoutMs = request.timeoutMs ?? TIMEOUT_MS
    const known = this.#presence.open(address) !== undefined
    const connection = await this.connection(address, request).catch((error) => {
      throw known || !isUnreachable(error) ? error : notThere(name, error)
    })
    const response = await connection.request(code, { ...request, timeoutMs })
    if (response.code === absent) return undefined
    if (response.code === RESPONSE.success) return { name, address, response }
    throw responseError(response, `${asked} at ${address}`)
  }

  /**
   * The answer of each master; with `missing`, masters that do not answer are left out and reported
   * to it.
   */
  async each<T>(
    masters: readonly Master[],
    missing: PartialOptions['missing'],
    ask: (master: Master) => Promise<T>,
  ): Promise<readonly T[]> {
    const settled = await Promise.allSettled(masters.map(ask))
    const answers: T[] = []
    const away: (readonly [Master, BrokerError])[] = []
    for (const [i, one] of settled.entries()) {
      if (one.status === 'fulfilled') answers.push(one.value)
      else if (missing === undefined || !isConnectionFailure(one.reason)) throw one.reason
      else away.push([masters[i]!, one.reason])
    }
    if (answers.length === 0 && away.length > 0) throw away[0]![1]
    for (const [master, error] of away) missing!(master, error)
    return answers
  }
}

const isUnreachable = (error: unknown): error is BrokerError =>
  error instanceof BrokerError && error.code === 'UNREACHABLE'
