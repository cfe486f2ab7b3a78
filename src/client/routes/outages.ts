// Brokers that this client used and cannot reach now. A cluster goes on without one of its masters,
// and its name servers name that one no more, so nothing else would tell: the status says when an
// outage begins and when it ends, for which the broker is dialled now and then.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { splitAddress } from '../../model/host.ts'
import { type DialOptions, dial } from '../../remoting/connection.ts'
import { abortController } from '../calls/abort.ts'
import { BackOff } from '../calls/back-off.ts'
import type { Status, StatusFeed } from '../calls/status.ts'

const FIRST_PROBE_MS = 500
const LONGEST_PROBE_MS = 30_000
/** More than any cluster has. */
const ADDRESSES_MAX = 1000

export interface OutageOptions {
  readonly clock: Clock
  readonly status: StatusFeed
  readonly tls?: DialOptions['tls']
  readonly connectTimeoutMs: number
}

interface Outage {
  readonly broker: string
  readonly address: string
  readonly sinceMs: number
  readonly probes: BackOff
  error: BrokerError
  /** A broker that is back at once was not away. */
  isTold: boolean
  timer: Timer | undefined
}

type Unreachable = Extract<Status, { readonly type: 'unreachable' }>

export class Outages {
  readonly #options: OutageOptions
  readonly #stop = abortController()
  /** By address: the broker that is said to be there. */
  readonly #names = new Map<string, string>()
  /** By the broker's name. */
  readonly #outages = new Map<string, Outage>()

  constructor(options: OutageOptions) {
    this.#options = options
  }

  /** The outages that last, oldest first. */
  get current(): readonly Unreachable[] {
    return [...this.#outages.values()].filter(({ isTold }) => isTold).map(statusOf)
  }

  /** The name servers said so, before the broker is dialled. */
  expect(broker: string, address: string): void {
    if (this.#names.get(address) === broker) return
    if (this.#names.size >= ADDRESSES_MAX) this.#names.delete(this.#names.keys().next().value!)
    this.#names.set(address, broker)
  }

  connected(address: string): void {
    const outage = this.#outages.get(this.#names.get(address) ?? '')
    if (outage === undefined) return
    outage.timer?.cancel()
    this.#outages.delete(outage.broker)
    if (!outage.isTold) return
    const { broker, sinceMs } = outage
    this.#options.status.emit({ type: 'reachable', broker, address, sinceMs })
  }

  /** A connection that was open is gone. */
  lost(address: string, error: BrokerError): void {
    const outage = this.#begin(address, error)
    if (outage !== undefined) void this.#probe(outage)
  }

  /** Dialling it failed. */
  failed(address: string, error: BrokerError): void {
    const outage = this.#begin(address, error)
    if (outage !== undefined) this.#goesOn(outage, error)
  }

  close(): void {
    this.#stop.abort(new BrokerError('CLOSED', 'the client is closed'))
    for (const { timer } of this.#outages.values()) timer?.cancel()
    this.#outages.clear()
  }

  /** undefined: no broker of ours, or away already. */
  #begin(address: string, error: BrokerError): Outage | undefined {
    const broker = this.#names.get(address)
    if (broker === undefined || this.#outages.has(broker) || this.#stop.signal.aborted) return
    const outage: Outage = {
      broker,
      address,
      sinceMs: this.#options.clock.now(),
      probes: new BackOff(FIRST_PROBE_MS, LONGEST_PROBE_MS),
      error,
      isTold: false,
      timer: undefined,
    }
    this.#outages.set(broker, outage)
    return outage
  }

  #goesOn(outage: Outage, error: BrokerError): void {
    outage.error = error
    outage.timer = this.#options.clock.after(outage.probes.nextMs(), () => void this.#probe(outage))
    if (outage.isTold) return
    outage.isTold = true
    this.#options.status.emit(statusOf(outage))
  }

  async #probe(outage: Outage): Promise<void> {
    const { clock, tls, connectTimeoutMs } = this.#options
    const { signal } = this.#stop
    try {
      const target = splitAddress(outage.address)
      const connection = await dial({ ...target, clock, tls, connectTimeoutMs, signal })
      connection.close()
      this.connected(outage.address)
    } catch (error) {
      const isCurrent = this.#outages.get(outage.broker) === outage
      if (isCurrent && !signal.aborted) this.#goesOn(outage, BrokerError.from(error))
    }
  }
}

const statusOf = ({ broker, address, sinceMs, error }: Outage): Unreachable => ({
  type: 'unreachable',
  broker,
  address,
  sinceMs,
  error,
})
