// Of a slave that was promoted: tells its former master of the epoch that began, should that come
// back in its old role. It acknowledges nothing from then on.
import { type Clock, sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Replication } from '../store/replication.ts'
import { type MasterAddress, MasterLink } from './master-link.ts'
import type { SlaveIdentity } from './slave.ts'
import { WIRE_VERSION } from './wire.ts'

/** Between two tries: while the former master is away each costs a refused connection. */
const TELL_MS = 5_000
/** Once it was told: it may be started again as it was. */
const TELL_AGAIN_MS = 60_000

export interface HeraldContext {
  readonly replication: Replication
  readonly identity: SlaveIdentity
  /** The former one. */
  readonly master: () => MasterAddress
  readonly clock: Clock
  readonly log: Logger
}

export class Herald {
  readonly #context: HeraldContext
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #hasTold = false

  constructor(context: HeraldContext) {
    this.#context = context
    this.#running = this.#run()
  }

  /** Settles when nothing is under way. */
  async close(): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      await this.#tell(signal).catch((error: unknown) => this.#answered(BrokerError.from(error)))
      const waitMs = this.#hasTold ? TELL_AGAIN_MS : TELL_MS
      await sleep(this.#context.clock, waitMs, signal).catch(() => {})
    }
  }

  async #tell(signal: AbortSignal): Promise<void> {
    const { replication, identity, master } = this.#context
    const link = await MasterLink.dial({ ...master(), signal })
    try {
      const { logId, epoch } = replication
      await link.hello({ version: WIRE_VERSION, ...identity, logId, epoch }, signal)
    } finally {
      link.close()
    }
  }

  /** ABORTED: it is in a lower epoch, and knows now. NOT_SUPPORTED: it is a slave. */
  #answered({ code }: BrokerError): void {
    if (code === 'NOT_SUPPORTED') this.#ending.abort()
    if (code !== 'ABORTED' || this.#hasTold) return
    this.#hasTold = true
    const { log, master } = this.#context
    const { address } = master()
    const text = `the former master at ${address} came back in its old role, and was told that it was replaced`
    log.warn({ evt: 'replication.former_master', address }, text)
  }
}
