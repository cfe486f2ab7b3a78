// A broker whose role is what an election by etcd says: one life of its store after the other in
// one process, at the same addresses.
import { BrokerError } from '../errors.ts'
import { advertisedHost, firstListener, listenerFor } from '../listeners.ts'
import type { GatewayContext } from '../port/gateway.ts'
import type { CopyEnd } from '../replication/elected-copy.ts'
import { EtcdCoordinator } from '../replication/election/etcd-coordinator.ts'
import type { CopyAddresses } from '../replication/election/group-state.ts'
import { copyNameIn } from '../store/disk/copy-name.ts'
import { emptyDataDirectory } from '../store/disk/data-directory.ts'
import type { Composition } from './composition.ts'
import { diallingMaster } from './dialling.ts'
import { Life } from './elected-life.ts'
import { TURNS_AWAY, turnAway } from './turning-away.ts'

/** Of a lease: two calls that no member answers still leave time for a third. */
const CALLS_PER_LEASE = 6

/** Settles when clients may read from the copy, or write to it. */
export async function composeElected(composition: Composition): Promise<GatewayContext> {
  const { parts, listeners } = composition
  turnAway(composition, ['mqtt', 'amqp'])
  firstListener(listeners, 'replication')!.serve(TURNS_AWAY)
  const broker = new ElectedBroker(composition)
  parts.add('copy of the log', () => broker.close())
  return broker.begin()
}

class ElectedBroker {
  readonly #composition: Composition
  readonly #addresses: CopyAddresses
  readonly #closing = new AbortController()
  #life: Life | undefined
  #hasFailed = false
  #anew: Promise<void> = Promise.resolve()

  constructor(composition: Composition) {
    this.#composition = composition
    this.#addresses = addressesOf(composition)
  }

  async begin(): Promise<GatewayContext> {
    const { config, clock, log, certificates, signal: given } = this.#composition
    const { clusterName, name: brokerName, id: brokerId = 1 } = config.broker
    const { prefix, endpoints, leaseMs, user: name, password } = config.replication.etcd
    const named = copyNameIn(config.dataDir, brokerId)
    const coordinator = new EtcdCoordinator(
      {
        ...{ prefix, endpoints, name: named.name, timeoutMs: leaseMs / CALLS_PER_LEASE },
        group: [clusterName, brokerName].map(encodeURIComponent).join('/'),
        user: name === undefined || password === undefined ? undefined : { name, password },
        tls: endpoints.some((one) => one.startsWith('https:')) ? certificates.dialling : undefined,
      },
      clock,
    )
    const { signal } = this.#closing
    const { life, served } = await Life.open({
      ...{ composition: this.#composition, named, coordinator },
      hasFailed: this.#hasFailed,
      ...{ addresses: this.#addresses, dialling: diallingMaster(this.#composition) },
      identity: { clusterName, brokerName, brokerId, copy: named.name },
      signal: given === undefined ? signal : AbortSignal.any([signal, given]),
      over: (end) => this.#over(end),
      failed: (error) => this.#failed(error),
    })
    this.#life = life
    log.info({ evt: 'election.copy', copy: named.name }, `this copy of the log is ${named.name}`)
    return served
  }

  /** Settles when nothing is under way any more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#anew
    await this.#life?.close(this.#composition.leaving())
  }

  #over(end: CopyEnd): void {
    if (this.#closing.signal.aborted) return
    this.#anew = this.#anew.then(() => this.#beginAnew(end))
  }

  async #beginAnew({ reason, isUseless = false, hasFailed = false }: CopyEnd): Promise<void> {
    const { config, log, serves, leaving } = this.#composition
    this.#hasFailed ||= hasFailed
    try {
      log.warn({ evt: 'election.anew', reason, isUseless }, `the log is opened anew: ${reason}`)
      await this.#life?.close(leaving())
      this.#life = undefined
      if (this.#closing.signal.aborted) return
      if (isUseless) emptyDataDirectory(config.dataDir)
      serves(await this.begin())
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#failed(error)
    }
  }

  #failed(err: unknown): void {
    const { log, parts } = this.#composition
    const text = 'this copy cannot go on, and its process ends: start it anew'
    log.error({ evt: 'election.not_served', err }, text)
    void parts.close()
  }
}

/** As other machines reach this one. @throws BrokerError CONFIG_INVALID */
function addressesOf({ config, listeners }: Composition): CopyAddresses {
  const host = advertisedHost(config.replication)
  if (host === undefined) {
    const text = 'replication.host is every address of the machine'
    throw new BrokerError(
      'CONFIG_INVALID',
      `${text}: set replication.advertisedHost to what other copies reach`,
    )
  }
  const at = (name: 'replication' | 'mqtt' | 'amqp'): string | undefined => {
    const found = listenerFor(listeners, name)
    if (found === undefined) return undefined
    const { port } = found.listener
    const told = advertisedHost(config[found.protocol]) ?? host
    return `${told.includes(':') ? `[${told}]` : told}:${port}`
  }
  return { replication: at('replication')!, mqtt: at('mqtt'), amqp: at('amqp') }
}
