// A copy of another broker's log: native clients read from it, clients of other protocols are sent
// away. It lives from one opening of its store to the next, which comes where retention of the
// master overtook it or where it has what its master's log has not.
import { allOf } from '../listeners.ts'
import { Parts } from '../parts.ts'
import type { GatewayContext } from '../port/gateway.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition, Farewell } from './composition.ts'
import { composeReplication } from './replication.ts'
import { serveBroker, serveCopy } from './serving.ts'
import { controlSlave, openCopyOf } from './slave.ts'
import { TURNS_AWAY, turnAway } from './turning-away.ts'

/** Settles when clients may read from the copy. */
export async function composeCopy(composition: Composition): Promise<GatewayContext> {
  for (const listener of allOf(composition.listeners, 'replication')) listener.serve(TURNS_AWAY)
  turnAway(composition, ['mqtt', 'amqp'])
  const copy = new Copy(composition)
  composition.parts.add('copy of the log', () => copy.close())
  return copy.begin()
}

class Copy {
  readonly #composition: Composition
  #life: Parts
  #begun: Promise<unknown> = Promise.resolve()
  #anew: Promise<void> = Promise.resolve()
  #isClosing = false

  constructor(composition: Composition) {
    this.#composition = composition
    this.#life = new Parts(composition.log)
  }

  begin(): Promise<GatewayContext> {
    const begun = this.#begin()
    this.#begun = begun.catch(() => {})
    return begun
  }

  async #begin(): Promise<GatewayContext> {
    const composition = { ...this.#composition, parts: this.#life }
    const { config, log, numbers, parts } = composition
    const { clusterName, name: brokerName, id: brokerId = 1 } = config.broker
    const identity = { clusterName, brokerName, brokerId }
    const shown = numbers.scope()
    parts.add('numbers of the copy', async () => shown[Symbol.dispose]())
    const store = await openCopyOf(composition, identity)
    const reading = new Parts(log)
    const replication = controlSlave(composition, identity, store, {
      becomeMaster: () => this.#becomeMaster(reading, store),
      beginAnew: (why) => {
        this.#anew = this.#beginAnew(why)
      },
    })
    parts.add('reading from the copy', () => reading.close())
    // The front-ends make room for those that come after them, at the same addresses.
    const leaving = (): Farewell => ({ ...composition.leaving(), isLast: false })
    const over = { ...composition, parts: reading, leaving }
    return serveCopy(over, { store, replication })
  }

  /** Settles when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.#life.close()
    await this.#anew
  }

  async #becomeMaster(reading: Parts, store: MessageStore): Promise<void> {
    const { serves, log, parts } = this.#composition
    try {
      await reading.close()
      const replication = await composeReplication(this.#composition, store)
      serves(await serveBroker(this.#composition, { store, replication }))
    } catch (err) {
      const text = 'the new master cannot serve: start it anew'
      log.error({ evt: 'replication.not_served', err }, text)
      await parts.close()
    }
  }

  async #beginAnew(reason: string): Promise<void> {
    const { serves, log, parts } = this.#composition
    log.warn({ evt: 'replication.anew', reason }, `the copy is opened once more: ${reason}`)
    try {
      await this.#begun
      await this.#life.close()
      if (this.#isClosing) return
      this.#life = new Parts(log)
      serves(await this.begin())
    } catch (err) {
      if (this.#isClosing) return
      const text = 'the copy cannot be opened any more: start it anew'
      log.error({ evt: 'replication.not_opened', err }, text)
      // Not awaited: what it closes waits for this.
      void parts.close()
    }
  }
}
