// The coordinator on etcd. The keys of a group of copies:
//
//   PREFIX/GROUP/state          what they have agreed on; stays
//   PREFIX/GROUP/master         the copy that is it; goes with its lease
//   PREFIX/GROUP/copies/NAME    a copy that is alive; goes with its lease
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Coordinator, Lease, MastershipHolder, Seen } from './coordinator.ts'
import { EtcdHttp, type EtcdJson, type EtcdOptions } from './etcd-http.ts'
import {
  type Candidate,
  type CopyName,
  decodeCandidate,
  decodeState,
  encodeCandidate,
  encodeState,
  type GroupState,
} from './group-state.ts'

export interface EtcdCoordinatorOptions extends EtcdOptions {
  /** Of all keys: no other program writes below it. */
  readonly prefix: string
  /** Of one log. */
  readonly group: string
  /** This copy. */
  readonly name: CopyName
}

interface Pair {
  readonly key: string
  readonly value: string
  readonly modified: number
  readonly lease: string
}

const NO_LEASE = '0'

export class EtcdCoordinator implements Coordinator {
  readonly #http: EtcdHttp
  readonly #name: CopyName
  readonly #base: string

  constructor(options: EtcdCoordinatorOptions, clock: Clock) {
    this.#http = new EtcdHttp(options, clock)
    this.#name = options.name
    this.#base = `${options.prefix}/${options.group}/`
  }

  close(): void {
    this.#http.close()
  }

  async read(): Promise<Seen> {
    const range = { key: encoded(this.#base), range_end: encoded(endOf(this.#base)) }
    const answer = await this.#http.call('/v3/kv/range', range, true)
    const pairs = listOf(answer['kvs']).map(pairOf)
    const stored = pairs.find(({ key }) => key === this.#stateKey)
    const master = pairs.find(({ key }) => key === this.#masterKey)
    const state = stored && decodeState(stored.value)
    if (stored !== undefined && state === undefined) {
      const text = `etcd has something at '${this.#stateKey}' that this version does not understand`
      throw new BrokerError(
        'NOT_SUPPORTED',
        `${text}: name another prefix, or start a newer version`,
      )
    }
    const holder: MastershipHolder | undefined = master && {
      name: master.value,
      lease: master.lease,
    }
    return { revision: stored?.modified ?? 0, state, holder, candidates: this.#candidates(pairs) }
  }

  #candidates(pairs: readonly Pair[]): readonly Candidate[] {
    const candidates: Candidate[] = []
    for (const { key, value } of pairs) {
      if (!key.startsWith(this.#copiesKey)) continue
      const candidate = decodeCandidate(key.slice(this.#copiesKey.length), value)
      if (candidate !== undefined) candidates.push(candidate)
    }
    return candidates
  }

  async grant(ttlMs: number): Promise<Lease> {
    // Whole seconds, and never less than one and a half of etcd's election timeouts.
    const answer = await this.#http.call('/v3/lease/grant', { TTL: Math.ceil(ttlMs / 1000) }, true)
    const { ID } = answer
    if (typeof ID !== 'string') throw new BrokerError('PROTOCOL_ERROR', 'etcd granted no lease')
    return { id: ID, ttlMs: Number(answer['TTL'] ?? 0) * 1000 }
  }

  async keepAlive({ id }: Lease): Promise<boolean> {
    const { result } = await this.#http.call('/v3/lease/keepalive', { ID: id }, true)
    const { TTL } = (result ?? {}) as EtcdJson
    return Number(TTL ?? 0) > 0
  }

  async revoke({ id }: Lease): Promise<void> {
    try {
      await this.#http.call('/v3/lease/revoke', { ID: id }, true)
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }

  async announce({ id }: Lease, candidate: Candidate): Promise<void> {
    const key = `${this.#copiesKey}${candidate.name}`
    const pair = { key: encoded(key), value: encoded(encodeCandidate(candidate)), lease: id }
    try {
      await this.#http.call('/v3/kv/put', pair, true)
    } catch (error) {
      if (isGone(error)) throw new BrokerError('ABORTED', 'the lease at etcd ran out')
      throw error
    }
  }

  async take(lease: Lease, revision: number, next: GroupState): Promise<boolean> {
    const isVacant = { key: encoded(this.#masterKey), target: 'CREATE', create_revision: '0' }
    const holder = { key: encoded(this.#masterKey), value: encoded(this.#name), lease: lease.id }
    const written = await this.#transact(
      [isVacant, this.#isAt(revision)],
      [{ request_put: holder }, this.#putState(next)],
    )
    return written !== undefined
  }

  replace(lease: Lease, revision: number, next: GroupState): Promise<number | undefined> {
    const isOurs = { key: encoded(this.#masterKey), target: 'LEASE', lease: lease.id }
    return this.#transact([isOurs, this.#isAt(revision)], [this.#putState(next)])
  }

  /** @returns the revision that it made; undefined: something compared differently */
  async #transact(
    compare: readonly EtcdJson[],
    success: readonly EtcdJson[],
  ): Promise<number | undefined> {
    const equal = compare.map((one) => ({ ...one, result: 'EQUAL' }))
    let answer: EtcdJson
    try {
      answer = await this.#http.call('/v3/kv/txn', { compare: equal, success }, false)
    } catch (error) {
      if (isGone(error)) return undefined
      throw error
    }
    if (answer['succeeded'] !== true) return undefined
    return Number((answer['header'] as EtcdJson | undefined)?.['revision'])
  }

  #isAt(revision: number): EtcdJson {
    const key = encoded(this.#stateKey)
    return revision === 0
      ? { key, target: 'CREATE', create_revision: '0' }
      : { key, target: 'MOD', mod_revision: String(revision) }
  }

  #putState(state: GroupState): EtcdJson {
    return { request_put: { key: encoded(this.#stateKey), value: encoded(encodeState(state)) } }
  }

  get #stateKey(): string {
    return `${this.#base}state`
  }
  get #masterKey(): string {
    return `${this.#base}master`
  }
  get #copiesKey(): string {
    return `${this.#base}copies/`
  }
}

/** The lease that a call names is not there any more. */
const isGone = (error: unknown): boolean =>
  error instanceof BrokerError && error.code === 'MESSAGE_NOT_FOUND'

const encoded = (text: string): string => Buffer.from(text, 'utf8').toString('base64')
const decoded = (value: unknown): string =>
  Buffer.from(String(value ?? ''), 'base64').toString('utf8')

/** The first key behind all that begin so. */
function endOf(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1)
  return prefix.slice(0, -1) + String.fromCharCode(last + 1)
}

const listOf = (value: unknown): readonly EtcdJson[] => (Array.isArray(value) ? value : [])

const pairOf = ({ key, value, mod_revision, lease }: EtcdJson): Pair => ({
  key: decoded(key),
  value: decoded(value),
  modified: Number(mod_revision),
  lease: String(lease ?? NO_LEASE),
})
